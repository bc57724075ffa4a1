/**
 * Copies of elements of 1, 4 or 8 bytes between arrays with any strides: Transpose, Slice, Expand, the parts of Concat
 * and Split. Values are moved as bits. Input and output must not overlap.
 */
import { i8x16, i32, type Local, memory, type V128, v128 } from "../assembler/index.ts";
import { defineKernel, type FieldValues, type Kernel, type KernelCode } from "../kernel.ts";
import {
  contiguousStrides,
  levelFields,
  mergeDimensions,
  planLevels,
  walkLevels,
} from "./levels.ts";
import { copyElement, type ElementBytes } from "./where.ts";

/** Addresses and strides in bytes; `inputInner`, `outputInner`: bytes from one element of a run to the next. */
export const copyFields = {
  input: "i32",
  output: "i32",
  inputInner: "i32",
  outputInner: "i32",
  ...levelFields(["input", "output"]),
} as const;

export type CopyKernel = Kernel<typeof copyFields>;

/** From about here on memory.copy is faster than a loop of ours (rows of 384 against 512 bytes, Node 24). */
const bulkBytes = 512;
/** Elements of a piece of a long run. */
const pieceElements = 4096;
/** Columns of a strip of the transposing kernel: one cache line of the input. */
const stripColumns = 16;

function copyKernel(bytes: ElementBytes): CopyKernel {
  return defineKernel({
    name: `x${8 * bytes}-copy-simd128`,
    isa: "simd128",
    fields: copyFields,
    item: "piece of a run",
    build: (code) => buildCopy(code, bytes),
  });
}

function buildCopy(code: KernelCode<typeof copyFields>, bytes: ElementBytes): void {
  const { fields } = code;
  const { input, output, inputInner, outputInner } = fields;
  const size = i32.const(bytes);
  const isContiguous = code.local(
    "i32",
    i32.and(i32.eq(inputInner, size), i32.eq(outputInner, size)),
  );
  const [from, to, left] = code.locals(3, "i32");
  walkLevels<"input" | "output">(code, fields, { input, output }, (count) => {
    from.set(input);
    to.set(output);
    left.set(i32.mul(count, size));
    const loop = (step: number, copy: () => void) =>
      code.while(i32.ge_s(left, i32.const(step)), () => {
        copy();
        code.advance(from, step);
        code.advance(to, step);
        code.advance(left, -step);
      });
    code.if(
      isContiguous,
      () =>
        code.if(
          i32.ge_s(left, i32.const(bulkBytes)),
          () => code.do(memory.copy(output, input, left)),
          () => {
            loop(16, () => code.do(v128.store(to, v128.load(from))));
            loop(bytes, () => code.do(copyElement(bytes, to, from)));
          },
        ),
      () =>
        code.while(i32.gt_s(left, i32.const(0)), () => {
          code.do(copyElement(bytes, to, from));
          code.advance(from, inputInner);
          code.advance(to, outputInner);
          code.advance(left, -bytes);
        }),
    );
  });
}

/**
 * Swaps two axes of four-byte elements: the run is the input's contiguous axis, cut into strips of 16; `rows` elements
 * lie `rowBytes` apart in the input and side by side in the output.
 */
export const transposeFields = {
  input: "i32",
  output: "i32",
  rows: "i32",
  rowBytes: "i32",
  columnBytes: "i32",
  ...levelFields(["input", "output"]),
} as const;

export type TransposeKernel = Kernel<typeof transposeFields>;

/** In blocks of 4 × 4 in registers; the edges one by one. */
function buildTranspose(code: KernelCode<typeof transposeFields>): void {
  const { fields } = code;
  const { input, output, rows, rowBytes, columnBytes } = fields;
  const [from, to, columns, row, left, at, put] = code.locals(7, "i32");
  const block = code.locals(4, "v128");
  const nextRow = (pointer: Local<"i32">, times: number) =>
    code.advance(pointer, i32.mul(rowBytes, i32.const(times)));
  const moveBlock = () => {
    for (const [k, one] of block.entries()) {
      if (k > 0) nextRow(at, 1);
      one.set(v128.load(at));
    }
    const [a, b, c, d] = block;
    const low = [0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23];
    const high = low.map((lane) => lane + 8);
    const first = [0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23];
    const second = first.map((lane) => lane + 8);
    const pairs = [
      i8x16.shuffle(a, b, low),
      i8x16.shuffle(c, d, low),
      i8x16.shuffle(a, b, high),
      i8x16.shuffle(c, d, high),
    ].map((pair) => code.local("v128", pair));
    const column = (k: number): V128 =>
      i8x16.shuffle(pairs[k & 2], pairs[(k & 2) + 1], k & 1 ? second : first);
    for (const k of [0, 1, 2, 3]) {
      if (k > 0) code.advance(put, columnBytes);
      code.do(v128.store(put, column(k)));
    }
  };
  walkLevels<"input" | "output">(code, fields, { input, output }, (count) => {
    row.set(rows);
    from.set(input);
    to.set(output);
    code.while(i32.gt_s(row, i32.const(3)), () => {
      columns.set(i32.const(0));
      code.while(i32.le_s(columns, i32.sub(count, i32.const(4))), () => {
        at.set(i32.add(from, i32.mul(columns, i32.const(4))));
        put.set(i32.add(to, i32.mul(columns, columnBytes)));
        moveBlock();
        code.advance(columns, 4);
      });
      code.while(i32.lt_s(columns, count), () => {
        at.set(i32.add(from, i32.mul(columns, i32.const(4))));
        put.set(i32.add(to, i32.mul(columns, columnBytes)));
        code.repeat(4, () => {
          code.do(i32.store(put, i32.load(at)));
          nextRow(at, 1);
          code.advance(put, 4);
        });
        code.advance(columns, 1);
      });
      nextRow(from, 4);
      code.advance(to, 16);
      code.advance(row, -4);
    });
    code.while(i32.gt_s(row, i32.const(0)), () => {
      at.set(from);
      put.set(to);
      left.set(count);
      code.while(i32.gt_s(left, i32.const(0)), () => {
        code.do(i32.store(put, i32.load(at)));
        code.advance(at, 4);
        code.advance(put, columnBytes);
        code.advance(left, -1);
      });
      nextRow(from, 1);
      code.advance(to, 4);
      code.advance(row, -1);
    });
  });
}

/** By the bytes of an element. */
export const copyKernels: Readonly<Record<ElementBytes, CopyKernel>> = {
  1: copyKernel(1),
  4: copyKernel(4),
  8: copyKernel(8),
};

export const transposeKernel: TransposeKernel = defineKernel({
  name: "x32-transpose-simd128",
  isa: "simd128",
  fields: transposeFields,
  item: "strip of 16 columns",
  build: buildTranspose,
});

/** Where the elements of `shape` are: strides in elements, may be 0 or negative; `offset` of the first element. */
export interface Walk {
  readonly strides: readonly number[];
  readonly offset?: number;
}

/** Add the offsets (bytes) to the addresses of the arrays. */
interface CopyPlanPart {
  readonly items: number;
  readonly inputOffset: number;
  readonly outputOffset: number;
}
export type CopyPlan =
  | (CopyPlanPart & {
      readonly kernel: CopyKernel;
      readonly values: Omit<FieldValues<typeof copyFields>, "input" | "output">;
    })
  | (CopyPlanPart & {
      readonly kernel: TransposeKernel;
      readonly values: Omit<FieldValues<typeof transposeFields>, "input" | "output">;
    });

/**
 * Plans the copy of `shape` elements from one walk to another; picks the transposing kernel where it fits.
 *
 * @returns undefined if more than six dimensions are left after merging.
 */
export function planCopy(
  bytes: ElementBytes,
  shape: readonly number[],
  input: Walk,
  output: Walk = { strides: contiguousStrides(shape) },
): CopyPlan | undefined {
  const offsets = {
    inputOffset: (input.offset ?? 0) * bytes,
    outputOffset: (output.offset ?? 0) * bytes,
  };
  const dimensions = shape.map((size, axis) => ({
    size,
    strides: [input.strides[axis], output.strides[axis]],
  }));
  const merged = mergeDimensions(dimensions);
  const inner = merged.at(-1);
  const swapped = merged.findIndex(({ strides, size }) => strides[0] === 1 && size >= 4);
  const isTranspose =
    bytes === 4 &&
    inner !== undefined &&
    inner.strides[1] === 1 &&
    inner.size >= 4 &&
    swapped >= 0 &&
    swapped < merged.length - 1;
  if (isTranspose) {
    const rest = merged.filter((_, at) => at !== swapped && at !== merged.length - 1);
    const column = merged[swapped];
    // The order of rows is free, so the input's contiguous axis goes innermost and is cut into strips.
    const plan = planStrips([...rest, column], bytes);
    if (!plan) return undefined;
    const values = {
      ...plan.values,
      rows: inner.size,
      rowBytes: inner.strides[0] * bytes,
      columnBytes: column.strides[1] * bytes,
    };
    return { ...offsets, kernel: transposeKernel, items: plan.items, values };
  }
  const plan = planLevels(dimensions, { input: bytes, output: bytes }, pieceElements);
  if (!plan) return undefined;
  const [inputInner, outputInner] = plan.innerStrides.map((stride) => stride * bytes);
  const values = { ...plan.values, inputInner, outputInner };
  return { ...offsets, kernel: copyKernels[bytes], items: plan.items, values };
}

const planStrips = (
  dimensions: readonly { readonly size: number; readonly strides: readonly number[] }[],
  bytes: number,
) => planLevels<"input" | "output">(dimensions, { input: bytes, output: bytes }, stripColumns);

/** The walk of an array whose axes are reordered: axis i of the result is axis `permutation[i]` of the array. */
export function permutedWalk(
  shape: readonly number[],
  permutation: readonly number[],
): { readonly shape: number[]; readonly walk: Walk } {
  const strides = contiguousStrides(shape);
  return {
    shape: permutation.map((axis) => shape[axis]),
    walk: { strides: permutation.map((axis) => strides[axis]) },
  };
}
