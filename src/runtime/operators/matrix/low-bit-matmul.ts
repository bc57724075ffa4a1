/**
 * bitloom.internal::LowBitMatMul: the product with a matrix of 2 to 8 bits. Quantizes its activation itself unless a
 * shared QuantizeActivation did.
 */
import type { Kernel } from "../../../../native/index.ts";
import { invariant } from "../../../core/errors.ts";
import type { CompiledStep, Operator, OperatorNode } from "../../session/operator.ts";
import { isFloat } from "../../session/storage.ts";
import { lowBitInputs, readLowBitNode } from "./low-bit-node.ts";
import { packedWeight } from "./low-bit-weight.ts";
import { quantizedBytes, quantizeTask, rowsOf } from "./quantize-activation.ts";

/** Products are cut for this many threads where they have few columns; the results do not depend on it. */
const expectedThreads = 4;

/** Inputs that live in the packed panels. */
export const packedInputs: readonly number[] = [
  lowBitInputs.codes,
  lowBitInputs.scales,
  lowBitInputs.zeroPoints,
  lowBitInputs.lowCodes,
  lowBitInputs.lowZeroPoints,
];

function useOf(node: OperatorNode) {
  const use = readLowBitNode(node);
  invariant(use, `${node.name} is no low-bit node`);
  return use;
}

/** Y [.., N] = A [.., K] · Wᵀ (+ bias [N]). */
export const lowBitMatMulOperator: Operator = {
  infer(node, inputs) {
    const { weight, dtype } = useOf(node);
    const { n, k } = weight;
    const activation = inputs[lowBitInputs.input];
    const shape = activation?.shape ?? [];
    rowsOf(shape, k);
    const bias = inputs[lowBitInputs.bias];
    if (bias && (bias.shape.length !== 1 || bias.shape[0] !== n)) {
      throw new RangeError(`bias [${bias.shape}] for ${n} columns`);
    }
    const type = dtype ?? activation?.dtype ?? "float32";
    return [{ dtype: type, shape: [...shape.slice(0, -1), n] }];
  },
  async compile(node, context): Promise<CompiledStep> {
    const { weight, quantized } = useOf(node);
    const { n, k, bits } = weight;
    const { matrix, pointer } = await packedWeight(node, weight, context);
    const none = { activations: 0, weights: 0, bias: 0, output: 0 };
    const quantize = quantized ? undefined : quantizeTask(context, k, bits);
    const forms = [1, 2].map((m) => context.task(matrix.product(m, none).kernel as Kernel));
    let run: () => void = () => undefined;
    return {
      packed: packedInputs,
      fits: (inputs) => isFloat(inputs[lowBitInputs.input]?.dtype),
      workspaceBytes: (inputs) =>
        quantized ? 0 : quantizedBytes(rowsOf(inputs[lowBitInputs.input]?.shape ?? [], k), k),
      bind(inputs, [output], workspace) {
        const input = inputs[lowBitInputs.input];
        if (!input || !output) return;
        const m = rowsOf(input.shape, k);
        if (m === 0) {
          run = () => undefined;
          return;
        }
        quantize?.set(m, input.pointer, workspace);
        const addresses = {
          activations: quantized ? (inputs[lowBitInputs.quantized]?.pointer ?? 0) : workspace,
          weights: pointer,
          bias: inputs[lowBitInputs.bias]?.pointer ?? 0,
          output: output.pointer,
        };
        const call = matrix.product(m, addresses, expectedThreads);
        const task = m === 1 ? forms[0] : forms[1];
        task.set(call.values, call.items, 2 * m * n * k);
        run = () => {
          quantize?.run();
          task.run();
        };
      },
      run: () => run(),
    };
  },
};
