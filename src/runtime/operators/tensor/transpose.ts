/** Transpose: axis i of the output is axis perm[i] of the input; all axes reversed by default. */
import { permutedWalk } from "../../../../native/index.ts";
import type { OperatorNode } from "../../session/operator.ts";
import { intsAttribute, required } from "./attributes.ts";
import { copyOperator } from "./copies.ts";

function permutationOf(node: OperatorNode, rank: number): readonly number[] {
  const permutation =
    intsAttribute(node, "perm") ?? Array.from({ length: rank }, (_, axis) => rank - 1 - axis);
  const isPermutation =
    permutation.length === rank &&
    new Set(permutation).size === rank &&
    permutation.every((axis) => axis >= 0 && axis < rank);
  if (!isPermutation) {
    throw new RangeError(`perm [${permutation.join(", ")}] does not fit ${rank} dimensions`);
  }
  return permutation;
}

export const transpose = copyOperator({
  infer(node, inputs) {
    const { dtype, shape } = required(inputs, 0);
    return [{ dtype, shape: permutationOf(node, shape.length).map((axis) => shape[axis]) }];
  },
  count: () => 1,
  copies(node, inputs) {
    const input = required(inputs, 0).shape;
    const { shape, walk } = permutedWalk(input, permutationOf(node, input.length));
    return [{ input: 0, output: 0, shape, from: walk }];
  },
});
