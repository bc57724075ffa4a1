/**
 * bitloom.internal::QuantizeActivation: the activations of low-bit products as int8 or int16, once for all products
 * that read them. Internal: fusions make it.
 *
 * Its result has the layout of the kernels, so no other operator can read it. It always takes the room of int16, since
 * the type is known only when the session opens.
 */
import { activationBytes, type LowBits, quantizeActivations } from "../../../../native/index.ts";
import { attribute } from "../../../onnx/portable.ts";
import { internalDomain, type NewNode } from "../../session/node-graph.ts";
import type { CompileContext, Operator, OperatorNode } from "../../session/operator.ts";
import { intAttribute } from "../tensor/attributes.ts";
import { quantizeActivation } from "./low-bit-node.ts";
import { activationTypeOf } from "./low-bit-weight.ts";

/** Bytes that hold m quantized rows of either type; 0 for none. */
export const quantizedBytes = (m: number, k: number): number =>
  m === 0 ? 0 : Math.max(activationBytes(m, k, "int8"), activationBytes(m, k, "int16"));

/** Rows of a value [.., k]; throws RangeError when its last dimension is another. */
export function rowsOf(shape: readonly number[], k: number): number {
  if (shape.length === 0 || shape.at(-1) !== k) {
    throw new RangeError(`activation [${shape}] does not end in ${k}`);
  }
  return shape.slice(0, -1).reduce((rows, size) => rows * size, 1);
}

/** @param bits - of the codes that it is multiplied with. */
export const quantizeNode = (
  input: string,
  output: string,
  name: string,
  { k, bits }: { readonly k: number; readonly bits: number },
): NewNode => ({
  name,
  opType: quantizeActivation,
  domain: internalDomain,
  inputs: [input],
  outputs: [output],
  attributes: { K: attribute.int(k), bits: attribute.int(bits) },
});

/** A task that quantizes, and how to fill it. */
export function quantizeTask(context: CompileContext, k: number, bits: LowBits) {
  const type = activationTypeOf(context, bits);
  const { kernel } = quantizeActivations(1, k, type, { input: 0, activations: 0 });
  const task = context.task(kernel);
  return {
    set(m: number, input: number, activations: number): void {
      const { values, items } = quantizeActivations(Math.max(m, 1), k, type, {
        input,
        activations,
      });
      // Two passes over the row, a few operations each.
      task.set(values, m === 0 ? 0 : items, 8 * m * k);
    },
    run: () => task.run(),
  };
}

const columns = (node: OperatorNode) => intAttribute(node, "K", 0);

export const quantizeActivationOperator: Operator = {
  infer(node, [input]) {
    const m = rowsOf(input?.shape ?? [], columns(node));
    return [{ dtype: "uint8", shape: [quantizedBytes(m, columns(node))] }];
  },
  compile(node, context) {
    const k = columns(node);
    const task = quantizeTask(context, k, intAttribute(node, "bits", 4) as LowBits);
    return {
      bind([input], [output]) {
        if (input && output) task.set(rowsOf(input.shape, k), input.pointer, output.pointer);
      },
      run: task.run,
    };
  },
};
