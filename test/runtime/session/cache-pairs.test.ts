/** Which inputs are caches that a session can carry from run to run. */
import { expect, test } from "vitest";
import type { DType } from "../../../src/core/tensor.ts";
import type { ValueInfo } from "../../../src/onnx/types.ts";
import { cachePairs, emptyCache } from "../../../src/runtime/session/caches.ts";
import { graph } from "../../support/graph-builder.ts";

type Shape = NonNullable<ValueInfo["shape"]>;

const cache = (name: string, shape: Shape, dtype: DType = "float32") => ({ name, dtype, shape });

function pairsOf(inputs: readonly ReturnType<typeof cache>[], outputs: readonly string[]) {
  const builder = graph();
  for (const { name, dtype, shape } of inputs) builder.input(name, dtype, shape);
  outputs.forEach((output, at) => {
    builder.node("Identity", [inputs[at].name], [output]).output(output, inputs[at].dtype);
  });
  return [...cachePairs(builder.model().graph)];
}

test("caches pair by the names that exporters give them", () => {
  const shape = ["batch", 2, "past", 4];
  expect(
    pairsOf(
      [cache("past_key_values.0.key", shape), cache("past_3", shape), cache("x", shape)],
      ["present.0.key", "present_3", "present"],
    ),
  ).toEqual([
    ["past_key_values.0.key", "present.0.key"],
    ["past_3", "present_3"],
  ]);
});

test("what holds something before the first token stays an input", () => {
  const fixed = cache("past_key_values.0.key", [1, 2, 64, 4]);
  const state = cache("past_conv.0", ["batch", 16, 3]);
  expect(pairsOf([fixed, state], ["present.0.key", "present_conv.0"])).toEqual([]);
});

test.each([
  [
    ["batch", 2, "past_sequence_length", 4],
    [1, 2, 0, 4],
  ],
  [
    ["b", 2, "p", 4],
    [1, 2, 0, 4],
  ],
  [
    ["past", "batch", 2, 4],
    [0, 1, 2, 4],
  ],
  [
    ["batch", "past", 8],
    [1, 0, 8],
  ],
  [["batch", "heads", "past", 4], undefined],
  [["batch", "heads", "p", 4], undefined],
] as const)("%j is empty as %j", (shape, start) => {
  const type = emptyCache(cache("past.0.key", shape));
  expect(type?.shape).toEqual(start);
});
