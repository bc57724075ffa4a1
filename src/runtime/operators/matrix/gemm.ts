/**
 * Gemm: alpha · op(A) · op(B) + beta · C, C broadcast to [M, N].
 */
import { matmul } from "../../../../native/index.ts";
import { invariant } from "../../../core/errors.ts";
import type { CompiledStep, Operand, Operator, OperatorNode } from "../../session/operator.ts";
import { type HostTensor, isFloat } from "../../session/storage.ts";
import { floatAttribute, intAttribute } from "../tensor/attributes.ts";
import {
  type Bias,
  multiply,
  noBias,
  type Product,
  packedRight,
  packedTask,
  productShape,
  stridedPlan,
} from "./product.ts";

interface GemmAttributes extends Product {
  readonly beta: number;
}

const attributesOf = (node: OperatorNode): GemmAttributes => ({
  transposed: {
    left: intAttribute(node, "transA", 0) !== 0,
    right: intAttribute(node, "transB", 0) !== 0,
  },
  alpha: floatAttribute(node, "alpha", 1),
  beta: floatAttribute(node, "beta", 1),
});

/** [rows, columns] of C, each 1 or that of the result. */
function biasSizes(c: readonly number[], [m, n]: readonly number[]): readonly [number, number] {
  const [rows, columns] = c.length === 0 ? [1, 1] : c.length === 1 ? [1, c[0]] : c;
  const fits = c.length <= 2 && (rows === 1 || rows === m) && (columns === 1 || columns === n);
  if (!fits) throw new RangeError(`C [${c}] does not broadcast to [${m}, ${n}]`);
  return [rows, columns];
}

/** out += beta · C */
function addBias(out: HostTensor, c: HostTensor, beta: number): void {
  const [rows, columns] = biasSizes(c.shape, out.shape);
  const [m, n] = out.shape;
  for (let row = 0; row < m; row++) {
    for (let column = 0; column < n; column++) {
      const from = (rows === 1 ? 0 : row * columns) + (columns === 1 ? 0 : column);
      out.data[row * n + column] += beta * c.data[from];
    }
  }
}

/** What of C the kernel adds itself; a whole matrix, or one that is scaled, is put into the output before. */
function biasOf(c: Operand | undefined, out: Operand, beta: number): Bias {
  if (!c || beta === 0) return noBias;
  const [m, n] = out.shape;
  const [rows, columns] = biasSizes(c.shape, out.shape);
  if (beta !== 1) return { ...noBias, accumulate: true };
  if (rows === 1 && columns === n) return { ...noBias, columnBias: c.pointer };
  if (columns === 1)
    return { ...noBias, rowBias: c.pointer, rowBiasStep: rows === m && m > 1 ? 1 : 0 };
  return { ...noBias, accumulate: true };
}

export const gemmOperator: Operator = {
  infer(node, [a, b, c]) {
    if (a?.shape.length !== 2 || b?.shape.length !== 2) {
      throw new RangeError(`Gemm of [${a?.shape}] and [${b?.shape}], expected two matrices`);
    }
    const shape = productShape(a.shape, b.shape, attributesOf(node).transposed);
    if (c) biasSizes(c.shape, shape);
    return [{ dtype: a.dtype, shape }];
  },
  compute(node, [a, b, c], [out]) {
    invariant(a && b && out, `${node.name} lacks an operand`);
    const attributes = attributesOf(node);
    multiply(a, b, out, attributes);
    // C with beta = 0 counts as left out: its NaN must not reach the result.
    if (c && attributes.beta !== 0) addBias(out, c, attributes.beta);
  },
  async compile(node, context): Promise<CompiledStep> {
    const attributes = attributesOf(node);
    const { transposed, beta, alpha } = attributes;
    const right = await packedRight(node, context, transposed.right);
    const packed = right && packedTask(context, right, alpha);
    const strided = right ? undefined : context.task(matmul);
    let prepare: (() => void) | undefined;
    return {
      packed: right ? [1] : [],
      fits: ([a, b]) => {
        const areFloat = [a, b].every((type) => isFloat(type?.dtype));
        if (!areFloat || !a || !b) return false;
        return right !== undefined || stridedPlan(a.shape, b.shape, attributes) !== undefined;
      },
      bind([a, b, c], [out]) {
        if (!a || !out) return;
        const [m, n] = out.shape;
        const bias = biasOf(c, out, beta);
        prepare =
          bias.accumulate && c
            ? () => {
                const { buffer } = context.memory();
                const view = ({ pointer, elements, dtype, shape }: Operand): HostTensor => ({
                  dtype,
                  shape,
                  data: new Float32Array(buffer, pointer, elements),
                });
                const start = view(out);
                start.data.fill(0);
                addBias(start, view(c), beta);
              }
            : undefined;
        if (packed) {
          packed.set(m, a.pointer, out.pointer, bias, transposed.left);
          return;
        }
        const plan = b && stridedPlan(a.shape, b.shape, attributes, bias.rowBiasStep);
        if (!plan) return;
        const { columnBias, rowBias, accumulate } = bias;
        const pointers = { a: a.pointer, b: b.pointer, c: out.pointer, columnBias, rowBias };
        const values = { ...plan.values, ...pointers, accumulate: accumulate ? 1 : 0 };
        strided?.set(values, plan.items, 2 * m * n * plan.values.k);
      },
      run() {
        prepare?.();
        packed?.run();
        strided?.run();
      },
    };
  },
};
