/**
 * bitloom.internal::LowBitGather: rows of a table of 2 to 8 bits by id, from the panels that products with the same
 * table read.
 */
import { invariant } from "../../../core/errors.ts";
import type { CompiledStep, Operator } from "../../session/operator.ts";
import { packedInputs } from "./low-bit-matmul.ts";
import { lowBitInputs, readLowBitNode } from "./low-bit-node.ts";
import { packedWeight } from "./low-bit-weight.ts";

/** Y [ids.., K] = W[ids]; negative ids count from the end, rows of ids outside the table are NaN. */
export const lowBitGatherOperator: Operator = {
  infer(node, [ids]) {
    const use = readLowBitNode(node);
    const shape = [...(ids?.shape ?? []), use?.weight.k ?? 0];
    return [{ dtype: use?.dtype ?? "float32", shape }];
  },
  async compile(node, context): Promise<CompiledStep> {
    const use = readLowBitNode(node);
    invariant(use, `${node.name} is no low-bit node`);
    const { weight } = use;
    const { matrix, pointer } = await packedWeight(node, weight, context);
    const task = context.task(matrix.gather(0, { ids: 0, weights: 0, output: 0 }).kernel);
    // The kernel reads 64-bit ids; others are widened into the workspace.
    let widen: (() => void) | undefined;
    return {
      packed: packedInputs,
      workspaceBytes: ([ids]) =>
        ids && ids.dtype !== "int64" ? 8 * ids.shape.reduce((count, size) => count * size, 1) : 0,
      bind(inputs, [output], workspace) {
        const ids = inputs[lowBitInputs.input];
        if (!ids || !output) return;
        const count = ids.elements;
        const isWide = ids.dtype === "int64";
        const addresses = { ids: isWide ? ids.pointer : workspace, weights: pointer };
        const call = matrix.gather(count, { ...addresses, output: output.pointer });
        task.set(call.values, call.items, 4 * count * weight.k);
        widen = isWide
          ? undefined
          : () => {
              const { buffer } = context.memory();
              const narrow = new Int32Array(buffer, ids.pointer, count);
              new Float64Array(buffer, workspace, count).set(narrow);
            };
      },
      run() {
        widen?.();
        task.run();
      },
    };
  },
};
