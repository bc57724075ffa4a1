/** Normalisations of channels and Resize against ONNX Runtime. */
import { afterAll, describe, test } from "vitest";
import { attribute } from "../../../src/onnx/index.ts";
import { createRuntime } from "../../../src/runtime/index.ts";
import { type Case, constant, constantInts, expectSame, given, random } from "./tensor-compare.ts";

const runtime = createRuntime({ threads: 1 });
afterAll(() => runtime.close());

const { int, ints, float, str } = attribute;
const x = random("float32", [2, 4, 3, 5]);
const perChannel = (...numbers: readonly number[]) => constant("float32", [4], numbers);
const statistics = [
  perChannel(1, 0.5, -2, 3),
  perChannel(0, 1, 2, 3),
  perChannel(0.5, 0, -0.5, 1),
  perChannel(1, 4, 0.25, 2),
];

const linear = ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"] as const;
const roundings = ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"] as const;
const scales = constant("float32", [4], [1, 1, 2, 2.4]);
const resized = (attributes: Case["attributes"], sizes: readonly number[] = []): Case => ({
  operator: "Resize",
  inputs:
    sizes.length > 0 ? [x, undefined, undefined, constantInts(...sizes)] : [x, undefined, scales],
  attributes: attributes ?? {},
  bound: 1e-5,
});

const cases: Readonly<Record<string, readonly Case[]>> = {
  BatchNormalization: [
    { operator: "BatchNormalization", inputs: [x, ...statistics], bound: 1e-5 },
    {
      operator: "BatchNormalization",
      inputs: [random("float32", [3, 4]), ...statistics],
      attributes: { epsilon: float(0.1) },
      bound: 1e-5,
    },
    {
      operator: "BatchNormalization",
      inputs: [x, ...statistics.map(({ tensor }) => ({ tensor }))],
      bound: 1e-5,
    },
  ],
  InstanceNormalization: [
    { operator: "InstanceNormalization", inputs: [x, ...statistics.slice(0, 2)], bound: 1e-5 },
    {
      operator: "InstanceNormalization",
      inputs: [random("float32", [2, 4, 33]), given("float32", [4], [1, 2, 3, 4]), statistics[1]],
      bound: 1e-5,
    },
  ],
  GroupNormalization: [
    {
      operator: "GroupNormalization",
      inputs: [x, ...statistics.slice(0, 2)],
      attributes: { num_groups: int(2) },
      opset: 21,
      bound: 1e-5,
    },
  ],
  Resize: [
    ...linear.map((mode) =>
      resized({ mode: str("linear"), coordinate_transformation_mode: str(mode) }),
    ),
    ...linear.map((mode) =>
      resized({ mode: str("linear"), coordinate_transformation_mode: str(mode) }, [2, 4, 2, 3]),
    ),
    ...roundings.map((mode) => resized({ nearest_mode: str(mode) })),
    resized({ nearest_mode: str("floor"), coordinate_transformation_mode: str("asymmetric") }),
    {
      ...resized({ axes: ints([2, 3]) }),
      inputs: [x, undefined, constant("float32", [2], [3, 0.5])],
    },
    { operator: "Resize", inputs: [x, constant("float32", [4], [1, 1, 2, 2])], opset: 10 },
  ],
  Upsample: [
    { operator: "Upsample", inputs: [x, constant("float32", [4], [1, 1, 2, 3])], opset: 9 },
  ],
  ...Object.fromEntries(
    [
      "Selu",
      "Celu",
      "ThresholdedRelu",
      "Mish",
      "Softsign",
      "Tan",
      "Atan",
      "Sinh",
      "Cosh",
      "Asinh",
    ].map((operator) => [operator, [{ operator, inputs: [x], bound: 4e-6 }]]),
  ),
};

describe.each(Object.entries(cases))("%s", (_, list) => {
  test.each(list.map((one, index) => ({ one, index })))(
    "case $index: |error| ≤ 1e-5 · (1 + |y|)",
    ({ one }) => expectSame(runtime, one),
  );
});
