/**
 * Float products on kernels and in JavaScript: what MatMul, FusedMatMul and Gemm have in common. Operands may be read
 * transposed; a constant right side of two dimensions is packed when the session opens.
 */
import {
  contiguousStrides,
  gemm,
  type MatmulOperand,
  packedGemmLength,
  packGemm,
  planGemm,
  planMatmul,
} from "../../../../native/index.ts";
import type { CompileContext, Operand, OperatorNode } from "../../session/operator.ts";
import { type HostTensor, isFloat } from "../../session/storage.ts";

export interface Transposed {
  readonly left: boolean;
  readonly right: boolean;
}

/** A dense operand, or the view of it with its last two dimensions exchanged. */
export function operandOf(shape: readonly number[], isTransposed: boolean): MatmulOperand {
  if (!isTransposed || shape.length < 2) return { shape };
  const strides = contiguousStrides(shape);
  const exchanged = (list: readonly number[]) => [
    ...list.slice(0, -2),
    list[list.length - 1],
    list[list.length - 2],
  ];
  return { shape: exchanged(shape), strides: exchanged(strides) };
}

export interface PackedRight {
  readonly pointer: number;
  readonly k: number;
  readonly n: number;
  /** A vector: the result lacks its dimension. */
  readonly isVector: boolean;
}

/** Packs B where it is constant, float, no stack of matrices and not empty; undefined elsewhere. */
export async function packedRight(
  node: OperatorNode,
  context: CompileContext,
  isTransposed: boolean,
): Promise<PackedRight | undefined> {
  if (!context.isConstant(1)) return undefined;
  const key = JSON.stringify(["gemm", node.inputs[1], isTransposed]);
  return context.shared(key, async () => {
    const weight = await context.constant(1);
    if (!weight || !isFloat(weight.dtype)) return undefined;
    const { shape } = weight;
    if (shape.length > 2 || shape.length === 0 || shape.includes(0)) return undefined;
    const isVector = shape.length === 1;
    const [rows, columns] = isVector ? [shape[0], 1] : shape;
    const swaps = isTransposed && !isVector;
    const [k, n] = swaps ? [columns, rows] : [rows, columns];
    const length = packedGemmLength(n, k);
    const { pointer, bytes } = context.reserve(4 * length);
    const into = new Float32Array(bytes.buffer, bytes.byteOffset, length);
    packGemm(into, weight.data as Float32Array, n, k, swaps ? [1, k] : [n, 1]);
    return { pointer, k, n, isVector };
  });
}

export interface Bias {
  readonly columnBias: number;
  readonly rowBias: number;
  readonly rowBiasStep: 0 | 1;
  /** The result starts from what lies in the output. */
  readonly accumulate: boolean;
}

export const noBias: Bias = { columnBias: 0, rowBias: 0, rowBiasStep: 1, accumulate: false };

/** The task of a product with packed weights. */
export function packedTask(context: CompileContext, right: PackedRight, alpha: number) {
  const task = context.task(gemm);
  const { n, k, pointer } = right;
  return {
    /** @param isTransposed - A is [K, M]. */
    set(m: number, a: number, c: number, bias = noBias, isTransposed = false): void {
      const { columnBias, rowBias, rowBiasStep, accumulate } = bias;
      const strides = isTransposed ? ([1, m] as const) : ([k, 1] as const);
      const options = { alpha, rowBiasStep, accumulate, aStrides: strides };
      const { values, items } = planGemm(Math.max(m, 1), n, k, options);
      const pointers = { a, b: pointer, c, columnBias, rowBias };
      task.set({ ...values, ...pointers }, m === 0 ? 0 : items, 2 * m * n * k);
    },
    run: () => task.run(),
  };
}

export interface Product {
  readonly transposed: Transposed;
  readonly alpha: number;
}

/** Shape of op(A) · op(B) by numpy's rules. Throws: RangeError when they do not multiply. */
export function productShape(
  a: readonly number[],
  b: readonly number[],
  { left, right }: Transposed,
): number[] {
  if (a.length === 0 || b.length === 0) throw new RangeError("a scalar cannot be multiplied");
  const [rows, inner] = a.length === 1 ? [undefined, a[0]] : operandOf(a, left).shape.slice(-2);
  const [depth, columns] = b.length === 1 ? [b[0], undefined] : operandOf(b, right).shape.slice(-2);
  if (inner !== depth) throw new RangeError(`shapes [${a}] · [${b}] do not multiply`);
  const [outer, other] = [a.slice(0, -2), b.slice(0, -2)];
  const rank = Math.max(outer.length, other.length);
  const batch = Array.from({ length: rank }, (_, at) => {
    const one = outer[at - (rank - outer.length)] ?? 1;
    const two = other[at - (rank - other.length)] ?? 1;
    if (one !== two && one !== 1 && two !== 1) {
      throw new RangeError(`batches of [${a}] · [${b}] do not broadcast`);
    }
    return one === 1 ? two : one;
  });
  return [...batch, ...[rows, columns].filter((size) => size !== undefined)];
}

/** The kernel's plan, or undefined when it cannot walk these shapes. */
export function stridedPlan(
  a: readonly number[],
  b: readonly number[],
  { transposed, alpha }: Product,
  rowBiasStep: 0 | 1 = 1,
) {
  if (a.includes(0) || b.includes(0)) return undefined;
  try {
    const { left, right } = transposed;
    return planMatmul(operandOf(a, left), operandOf(b, right), { alpha, rowBiasStep });
  } catch {
    // More levels of batches than the kernel has.
    return undefined;
  }
}

/**
 * out = alpha · op(A) · op(B). Cost: O(M · N · K) per batch.
 *
 * Numerics: sums in float64; of 32-bit integers modulo 2^32, as the operator's definition wraps.
 */
export function multiply(a: HostTensor, b: HostTensor, out: HostTensor, product: Product): void {
  const left = operandOf(a.shape, product.transposed.left);
  const right = operandOf(b.shape, product.transposed.right);
  const asMatrix = (
    { shape, strides = contiguousStrides(shape) }: MatmulOperand,
    isLeft: boolean,
  ) => {
    if (shape.length > 1) return { shape, strides };
    return isLeft
      ? { shape: [1, shape[0]], strides: [0, strides[0]] }
      : { shape: [shape[0], 1], strides: [strides[0], 0] };
  };
  const x = asMatrix(left, true);
  const y = asMatrix(right, false);
  const [m, k] = x.shape.slice(-2);
  const n = y.shape[y.shape.length - 1];
  const perBatch = m * n;
  const batches = perBatch === 0 ? 0 : out.data.length / perBatch;
  const wraps = out.data instanceof Int32Array || out.data instanceof Uint32Array;
  const batchShape = out.shape.slice(0, Math.max(a.shape.length, b.shape.length, 2) - 2);
  for (let batch = 0; batch < batches; batch++) {
    const [xAt, yAt] = [x, y].map(({ shape, strides }) => {
      let [rest, offset] = [batch, 0];
      for (let axis = batchShape.length - 1; axis >= 0; axis--) {
        const index = rest % batchShape[axis];
        rest = Math.floor(rest / batchShape[axis]);
        const own = axis - (batchShape.length - (shape.length - 2));
        if (own >= 0 && shape[own] !== 1) offset += index * strides[own];
      }
      return offset;
    });
    const [xRow, xColumn] = x.strides.slice(-2);
    const [yRow, yColumn] = y.strides.slice(-2);
    for (let row = 0; row < m; row++) {
      for (let column = 0; column < n; column++) {
        let sum = 0;
        for (let inner = 0; inner < k; inner++) {
          const one = a.data[xAt + row * xRow + inner * xColumn];
          const other = b.data[yAt + inner * yRow + column * yColumn];
          sum = wraps ? (sum + Math.imul(one, other)) | 0 : sum + one * other;
        }
        out.data[batch * perBatch + row * n + column] = product.alpha * sum;
      }
    }
  }
}

/** Rows that a packed product multiplies at once: all dimensions but the last. */
export const rowCount = ({ shape }: Pick<Operand, "shape">): number =>
  shape.slice(0, -1).reduce((count, size) => count * size, 1);
