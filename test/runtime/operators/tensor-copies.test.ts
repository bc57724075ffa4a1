/** Operators that move elements: results equal ONNX Runtime's bit for bit, on kernels and in JavaScript. */
import { afterAll, describe, expect, test } from "vitest";
import { attribute, memoryTensor } from "../../../src/onnx/index.ts";
import { createSession } from "../../../src/runtime/create-session.ts";
import { createRuntime } from "../../../src/runtime/index.ts";
import { graph } from "../../support/graph-builder.ts";
import {
  type Case,
  constant,
  constantInts,
  expectSame,
  given,
  ints,
  random,
} from "./tensor-compare.ts";

const runtime = createRuntime({ threads: 1 });
afterAll(() => runtime.close());

const { int, ints: list, float, str } = attribute;
const x = random("float32", [2, 3, 4]);
const cases: Readonly<Record<string, readonly Case[]>> = {
  Shape: [
    { operator: "Shape", inputs: [x] },
    { operator: "Shape", inputs: [x], attributes: { start: int(-2), end: int(3) } },
  ],
  Size: [{ operator: "Size", inputs: [x] }],
  Reshape: [
    { operator: "Reshape", inputs: [x, constantInts(0, -1)] },
    { operator: "Reshape", inputs: [x, ints(4, -1, 2)] },
    {
      operator: "Reshape",
      inputs: [random("float32", [0, 3]), ints(3, 0)],
      attributes: { allowzero: int(1) },
    },
  ],
  Squeeze: [
    { operator: "Squeeze", inputs: [random("float32", [1, 3, 1]), constantInts(-1)] },
    { operator: "Squeeze", inputs: [random("int64", [1, 3, 1])] },
    {
      operator: "Squeeze",
      inputs: [random("float32", [1, 3, 1])],
      attributes: { axes: list([0]) },
      opset: 11,
    },
  ],
  Unsqueeze: [
    { operator: "Unsqueeze", inputs: [x, constantInts(-1, 0)] },
    { operator: "Unsqueeze", inputs: [x], attributes: { axes: list([1]) }, opset: 11 },
  ],
  Flatten: [
    { operator: "Flatten", inputs: [x] },
    { operator: "Flatten", inputs: [x], attributes: { axis: int(0) } },
    { operator: "Flatten", inputs: [x], attributes: { axis: int(-1) } },
  ],
  Identity: [{ operator: "Identity", inputs: [random("float16", [5])] }],
  Transpose: [
    { operator: "Transpose", inputs: [x] },
    {
      operator: "Transpose",
      inputs: [random("float32", [2, 17, 5, 9])],
      attributes: { perm: list([0, 2, 1, 3]) },
    },
    { operator: "Transpose", inputs: [random("float16", [7, 19])] },
    {
      operator: "Transpose",
      inputs: [random("int64", [3, 2, 5])],
      attributes: { perm: list([1, 2, 0]) },
    },
    { operator: "Transpose", inputs: [random("bool", [3, 6])] },
    { operator: "Transpose", inputs: [random("float32", [0, 6])] },
    {
      operator: "Transpose",
      inputs: [random("float32", [2, 3, 2, 3, 2, 3, 2])],
      attributes: { perm: list([6, 4, 2, 0, 1, 3, 5]) },
    },
  ],
  Slice: [
    {
      operator: "Slice",
      inputs: [x, constantInts(1, -3), constantInts(9, -1), constantInts(0, 2)],
    },
    { operator: "Slice", inputs: [x, ints(3), ints(-99), ints(2), ints(-2)] },
    { operator: "Slice", inputs: [random("int64", [6]), ints(1), ints(2 ** 62)] },
    { operator: "Slice", inputs: [x, ints(2), ints(1), ints(1)] },
    {
      operator: "Slice",
      inputs: [x],
      attributes: { starts: list([0, 1]), ends: list([1, 3]) },
      opset: 9,
    },
  ],
  Concat: [
    { operator: "Concat", inputs: [x, random("float32", [2, 5, 4])], attributes: { axis: int(1) } },
    {
      operator: "Concat",
      inputs: [x, random("float32", [2, 3, 0]), x],
      attributes: { axis: int(-1) },
    },
    {
      operator: "Concat",
      inputs: [random("float16", [3]), random("float16", [4])],
      attributes: { axis: int(0) },
    },
    {
      operator: "Concat",
      inputs: [random("bool", [1, 3]), random("bool", [2, 3])],
      attributes: { axis: int(0) },
    },
    { operator: "Concat", inputs: [ints(1), constantInts(2, 3)], attributes: { axis: int(0) } },
  ],
  Split: [
    {
      operator: "Split",
      inputs: [x, constantInts(1, 3)],
      attributes: { axis: int(-1) },
      outputs: 2,
    },
    {
      operator: "Split",
      inputs: [x],
      attributes: { axis: int(1), num_outputs: int(2) },
      outputs: 2,
    },
    { operator: "Split", inputs: [x], attributes: { axis: int(2) }, outputs: 2, opset: 13 },
    {
      operator: "Split",
      inputs: [x],
      attributes: { axis: int(1), split: list([2, 1]) },
      outputs: 2,
      opset: 11,
    },
  ],
  Expand: [
    { operator: "Expand", inputs: [random("float32", [3, 1]), ints(2, 1, 6)] },
    { operator: "Expand", inputs: [random("bool", [1, 4]), constantInts(3, 1)] },
    { operator: "Expand", inputs: [random("int64", []), ints(2, 2)] },
  ],
  Tile: [
    { operator: "Tile", inputs: [x, constantInts(2, 1, 3)] },
    { operator: "Tile", inputs: [random("int64", [3]), ints(4)] },
    { operator: "Tile", inputs: [random("float32", [3]), ints(0)] },
  ],
  Pad: [
    { operator: "Pad", inputs: [x, constantInts(0, 1, 2, 1, 0, -1), constant("float32", [], [7])] },
    { operator: "Pad", inputs: [x, ints(0, 1, 2, 0, 0, 1)] },
    { operator: "Pad", inputs: [x, ints(1, 2), given("float32", [], [-1]), ints(-1)] },
    {
      operator: "Pad",
      inputs: [x, constantInts(0, 2, 3, 0, 1, 2)],
      attributes: { mode: str("reflect") },
    },
    {
      operator: "Pad",
      inputs: [x, constantInts(0, 2, 3, 0, 1, 2)],
      attributes: { mode: str("edge") },
    },
    {
      operator: "Pad",
      inputs: [x],
      attributes: { pads: list([0, 0, 1, 0, 0, 1]), value: float(3) },
      opset: 9,
    },
  ],
  DepthToSpace: [
    {
      operator: "DepthToSpace",
      inputs: [random("float32", [1, 8, 2, 3])],
      attributes: { blocksize: int(2) },
    },
    {
      operator: "DepthToSpace",
      inputs: [random("float32", [2, 8, 2, 3])],
      attributes: { blocksize: int(2), mode: str("CRD") },
    },
  ],
  SpaceToDepth: [
    {
      operator: "SpaceToDepth",
      inputs: [random("float32", [1, 2, 4, 6])],
      attributes: { blocksize: int(2) },
    },
  ],
  Gather: [
    { operator: "Gather", inputs: [x, ints(1, 0, -1)] },
    { operator: "Gather", inputs: [x, given("int64", [], [2])], attributes: { axis: int(1) } },
    {
      operator: "Gather",
      inputs: [x, given("int32", [2, 2], [0, 3, -4, 1])],
      attributes: { axis: int(-1) },
    },
    { operator: "Gather", inputs: [random("float16", [5, 6]), ints(4, 4)] },
    { operator: "Gather", inputs: [random("int8", [5, 6]), given("int64", [0], [])] },
  ],
  GatherElements: [
    {
      operator: "GatherElements",
      inputs: [x, given("int64", [2, 1, 4], [0, 2, -1, 1, 0, 0, 1, 2])],
      attributes: { axis: int(1) },
    },
  ],
  GatherND: [
    { operator: "GatherND", inputs: [x, given("int64", [2, 2], [0, 1, 1, -1])] },
    {
      operator: "GatherND",
      inputs: [x, given("int64", [2, 2, 1], [0, 2, 1, 1])],
      attributes: { batch_dims: int(1) },
    },
  ],
  ScatterND: [
    {
      operator: "ScatterND",
      inputs: [x, given("int64", [2, 2], [0, 1, 1, -1]), random("float32", [2, 4], 5)],
    },
    {
      operator: "ScatterND",
      inputs: [x, given("int64", [2, 1], [0, 0]), random("float32", [2, 3, 4], 5)],
      attributes: { reduction: str("add") },
    },
  ],
  ScatterElements: [
    {
      operator: "ScatterElements",
      inputs: [x, given("int64", [1, 2, 1], [2, -1]), random("float32", [1, 2, 1], 5)],
      attributes: { axis: int(2) },
    },
  ],
  ConstantOfShape: [
    { operator: "ConstantOfShape", inputs: [ints(2, 3)] },
    { operator: "ConstantOfShape", inputs: [constantInts(2, 0)] },
  ],
  Range: [
    {
      operator: "Range",
      inputs: [given("int64", [], [3]), given("int64", [], [-6]), given("int64", [], [-2])],
    },
    {
      operator: "Range",
      inputs: [given("float32", [], [0]), given("float32", [], [1]), given("float32", [], [0.3])],
    },
  ],
  OneHot: [
    {
      operator: "OneHot",
      inputs: [ints(1, -1, 7), given("int64", [], [4]), given("float32", [2], [0.5, 2])],
    },
    {
      operator: "OneHot",
      inputs: [ints(1, 2), constantInts(3), given("int64", [2], [0, 1])],
      attributes: { axis: int(0) },
    },
  ],
  EyeLike: [
    { operator: "EyeLike", inputs: [random("float32", [3, 4])], attributes: { k: int(1) } },
  ],
  Where: [
    {
      operator: "Where",
      inputs: [random("bool", [3, 1]), random("float32", [4]), random("float32", [2, 3, 1])],
    },
    {
      operator: "Where",
      inputs: [random("bool", [3]), random("int64", [3]), given("int64", [], [7])],
    },
    {
      operator: "Where",
      inputs: [random("bool", [0, 3]), random("float32", [3]), given("float32", [], [7])],
    },
  ],
  Trilu: [
    { operator: "Trilu", inputs: [x] },
    { operator: "Trilu", inputs: [x, given("int64", [], [-1])], attributes: { upper: int(0) } },
  ],
  CumSum: [
    { operator: "CumSum", inputs: [x, given("int64", [], [1])] },
    {
      operator: "CumSum",
      inputs: [random("int64", [5]), constant("int64", [], [0])],
      attributes: { exclusive: int(1), reverse: int(1) },
    },
  ],
  NonZero: [{ operator: "NonZero", inputs: [random("bool", [3, 5])] }],
  TopK: [
    { operator: "TopK", inputs: [x, ints(2)], outputs: 2 },
    {
      operator: "TopK",
      inputs: [x, constantInts(3)],
      attributes: { axis: int(1), largest: int(0) },
      outputs: 2,
    },
  ],
};

describe.each(Object.entries(cases))("%s", (_, list) => {
  test.each(list.map((one, index) => ({ one, index })))(
    "case $index equals ONNX Runtime",
    ({ one }) => expectSame(runtime, one),
  );
});

test("ConstantOfShape takes the number of its attribute", async () => {
  const value = memoryTensor("value", "int64", [1], BigInt64Array.of(-7n));
  const model = graph()
    .input("shape", "int64", [2])
    .output("y", "int64")
    .node("ConstantOfShape", ["shape"], ["y"], { value: attribute.tensor(value) })
    .model();
  const session = await createSession(model, { fallback: "none" });
  const { y } = await session.run({
    shape: { type: "int64", dims: [2], data: BigInt64Array.of(1n, 2n) },
  });
  expect([y.dims, y.data]).toEqual([[1, 2], BigInt64Array.of(-7n, -7n)]);
  await session.release();
});

test("a shape that follows from contents is worked out anew in every run", async () => {
  const model = graph()
    .input("x", "float32", [4])
    .output("y", "float32")
    .output("z", "int64")
    .node("Relu", ["x"], ["r"])
    .node("NonZero", ["r"], ["z"])
    .node("Shape", ["z"], ["s"])
    .node("Slice", ["x", "zero", "count"], ["y"])
    .node("Slice", ["s", "one", "two"], ["count"])
    .initializer("zero", [1], BigInt64Array.of(0n))
    .initializer("one", [1], BigInt64Array.of(1n))
    .initializer("two", [1], BigInt64Array.of(2n))
    .model();
  const session = await createSession(model, { fallback: "none" });
  for (const numbers of [
    [1, 0, 2, 0],
    [0, 0, 0, 3],
    [0, 0, 0, 0],
    [1, 2, 3, 4],
  ]) {
    const { y, z } = await session.run({
      x: { type: "float32", dims: [4], data: Float32Array.from(numbers) },
    });
    const positive = numbers.flatMap((value, index) => (value > 0 ? [index] : []));
    expect(Array.from(z.data as BigInt64Array, Number)).toEqual(positive);
    expect([...(y.data as Float32Array)]).toEqual(numbers.slice(0, positive.length));
  }
  await session.release();
});

test("an id outside the table is an error that names the node", async () => {
  const model = graph()
    .input("ids", "int64", [1])
    .output("y", "float32")
    .initializer("table", [2, 2], Float32Array.of(1, 2, 3, 4))
    .node("Gather", ["table", "ids"], ["y"], {}, "lookup")
    .model();
  const session = await createSession(model, { fallback: "none" });
  const run = (id: bigint) =>
    session.run({ ids: { type: "int64", dims: [1], data: BigInt64Array.of(id) } });
  await expect(run(2n)).rejects.toThrow(/"lookup".*outside/);
  expect((await run(1n)).y.data).toEqual(Float32Array.of(3, 4));
  await session.release();
});
