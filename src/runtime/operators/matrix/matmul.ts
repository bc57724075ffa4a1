/**
 * MatMul, com.microsoft::FusedMatMul, and bitloom.internal::BiasedMatMul, which adds a vector [N] to a product with
 * constant weights and is made by a fusion: float products by numpy's rules; integers and float64 in JavaScript.
 */
import { matmul } from "../../../../native/index.ts";
import type {
  CompileContext,
  CompiledStep,
  Operator,
  OperatorNode,
} from "../../session/operator.ts";
import { isFloat } from "../../session/storage.ts";
import { floatAttribute, intAttribute } from "../tensor/attributes.ts";
import {
  multiply,
  noBias,
  type Product,
  packedRight,
  packedTask,
  productShape,
  rowCount,
  stridedPlan,
} from "./product.ts";

/** MatMul has no attributes: the defaults. */
function productOf(node: OperatorNode): Product {
  const isSet = (name: string) => intAttribute(node, name, 0) !== 0;
  return {
    transposed: { left: isSet("transA"), right: isSet("transB") },
    alpha: floatAttribute(node, "alpha", 1),
  };
}

export const matMul: Operator = {
  refuses(node) {
    const isStacked = ["transBatchA", "transBatchB"].some((at) => intAttribute(node, at, 0) !== 0);
    return isStacked ? "it transposes batches" : undefined;
  },
  infer(node, [a, b]) {
    if (!a || !b) throw new RangeError("an operand is missing");
    return [{ dtype: a.dtype, shape: productShape(a.shape, b.shape, productOf(node).transposed) }];
  },
  compute(node, [a, b, bias], [out]) {
    if (!a || !b || !out) return;
    multiply(a, b, out, productOf(node));
    const { data } = out;
    if (bias) for (let i = 0; i < data.length; i++) data[i] += bias.data[i % bias.data.length];
  },
  async compile(node, context) {
    const product = productOf(node);
    const right = product.transposed.left
      ? undefined
      : await packedRight(node, context, product.transposed.right);
    // What adds a bias here has constant weights; those that are not packed are computed.
    if (!right) return node.inputs[2] ? undefined : strided(context, product);
    const task = packedTask(context, right, product.alpha);
    return {
      packed: [1],
      bind([a, , bias], [c]) {
        if (!a || !c) return;
        const added = { ...noBias, columnBias: bias?.pointer ?? 0 };
        task.set(a.shape.length === 1 ? 1 : rowCount(a), a.pointer, c.pointer, added);
      },
      run: task.run,
    };
  },
};

/** Two activations, or operands that are not packed. */
function strided(context: CompileContext, product: Product): CompiledStep {
  const task = context.task(matmul);
  return {
    fits: ([a, b]) =>
      a !== undefined &&
      b !== undefined &&
      isFloat(a.dtype) &&
      isFloat(b.dtype) &&
      stridedPlan(a.shape, b.shape, product) !== undefined,
    bind([a, b], [c]) {
      const plan = a && b && stridedPlan(a.shape, b.shape, product);
      if (!plan || !c) return;
      const { columnBias, rowBias } = noBias;
      const pointers = { a: a.pointer, b: b.pointer, c: c.pointer, columnBias, rowBias };
      const { k } = plan.values;
      task.set({ ...plan.values, ...pointers }, plan.items, 2 * c.elements * k);
    },
    run: () => task.run(),
  };
}
