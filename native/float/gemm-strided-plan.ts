/**
 * MatMul's shapes as the fields of the `matmul` kernel: broadcasting, operands of one dimension, transposed operands.
 * Pure arithmetic, no memory.
 */
import { panelColumns, tileRows } from "./gemm-tile.ts";
import { contiguousStrides } from "./levels.ts";

/** Levels of batch that the kernel walks after collapsing. */
export const batchLevels = 3;

/** An operand: its dimensions and, where it is no dense row-major array, its strides in elements. */
export interface MatmulOperand {
  readonly shape: readonly number[];
  readonly strides?: readonly number[];
}

/** Rows per item; B is packed once per run of items that share it. */
const rowsPerItem = 64;
const columnsPerItem = 8 * panelColumns;

export interface MatmulOptions {
  readonly alpha?: number;
  readonly limits?: readonly [number, number];
  /** 0: one row bias for all rows; default 1. */
  readonly rowBiasStep?: 0 | 1;
}

interface Level {
  readonly size: number;
  readonly a: number;
  readonly b: number;
}

/** The operand with at least two dimensions: a vector is a row on the left and a column on the right. */
function asMatrix({ shape, strides = contiguousStrides(shape) }: MatmulOperand, isLeft: boolean) {
  if (shape.length > 1) return { shape, strides };
  return isLeft
    ? { shape: [1, shape[0]], strides: [0, strides[0]] }
    : { shape: [shape[0], 1], strides: [strides[0], 0] };
}

/** Joins neighbouring levels that are walked as one, and drops those of size 1. */
function collapse(levels: readonly Level[]): Level[] {
  const joined: Level[] = [];
  for (const level of levels) {
    if (level.size === 1) continue;
    const outer = joined.at(-1);
    const isOneWalk = outer && outer.a === level.a * level.size && outer.b === level.b * level.size;
    if (isOneWalk) joined[joined.length - 1] = { ...level, size: outer.size * level.size };
    else joined.push(level);
  }
  return joined;
}

/**
 * The items, fields and shape of A · B by numpy's rules.
 *
 * @returns C is dense, [batch…, m, n] without the dimension that a vector operand lacks.
 * Throws: RangeError when the shapes do not multiply, or when more than three batch levels remain.
 */
export function planMatmul(left: MatmulOperand, right: MatmulOperand, options: MatmulOptions = {}) {
  const a = asMatrix(left, true);
  const b = asMatrix(right, false);
  const m = a.shape.at(-2) ?? 1;
  const k = a.shape.at(-1) ?? 1;
  const n = b.shape.at(-1) ?? 1;
  const describe = () => `[${left.shape}] · [${right.shape}]`;
  if (b.shape.at(-2) !== k) throw new RangeError(`shapes ${describe()} do not multiply`);
  const rank = Math.max(a.shape.length, b.shape.length) - 2;
  const batchShape: number[] = [];
  const levels: Level[] = [];
  for (let axis = 0; axis < rank; axis += 1) {
    const of = ({ shape, strides }: typeof a) => {
      const at = axis - (rank - (shape.length - 2));
      const size = at < 0 ? 1 : shape[at];
      return { size, stride: size === 1 ? 0 : strides[at] };
    };
    const [one, other] = [of(a), of(b)];
    if (one.size !== other.size && one.size !== 1 && other.size !== 1) {
      throw new RangeError(`batches of ${describe()} do not broadcast`);
    }
    const size = one.size === 1 ? other.size : one.size;
    batchShape.push(size);
    levels.push({ size, a: one.stride, b: other.stride });
  }
  const collapsed = collapse(levels);
  if (collapsed.length > batchLevels) {
    throw new RangeError(`batches of ${describe()} need more than ${batchLevels} levels`);
  }
  const [outer, middle, inner] = [
    ...Array.from({ length: batchLevels - collapsed.length }, () => ({ size: 1, a: 0, b: 0 })),
    ...collapsed,
  ];
  const { alpha = 1, rowBiasStep = 1 } = options;
  const [low, high] = options.limits ?? [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY];
  const rowBlock = Math.max(1, Math.min(m, rowsPerItem));
  const batches = outer.size * middle.size * inner.size;
  return {
    shape: [
      ...batchShape,
      ...(left.shape.length > 1 ? [m] : []),
      ...(right.shape.length > 1 ? [n] : []),
    ],
    items: batches * Math.ceil(n / columnsPerItem) * Math.ceil(m / rowBlock),
    values: {
      m,
      n,
      k,
      aRow: a.strides.at(-2) ?? 0,
      aColumn: a.strides.at(-1) ?? 0,
      bRow: b.strides.at(-2) ?? 0,
      bColumn: b.strides.at(-1) ?? 0,
      cRow: n,
      cBatch: m * n,
      aOuter: outer.a,
      aMiddle: middle.a,
      aInner: inner.a,
      bOuter: outer.b,
      bMiddle: middle.b,
      bInner: inner.b,
      middleSize: middle.size,
      innerSize: inner.size,
      rowBlock,
      columnBlock: columnsPerItem,
      kBlock: m <= tileRows ? k : Math.min(k, 1024),
      rowBiasStep,
      accumulate: 0,
      alpha,
      low,
      high,
    },
  };
}
