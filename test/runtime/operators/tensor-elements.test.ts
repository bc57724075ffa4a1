/** Element-wise operators, reductions and codes: kernels and JavaScript forms against ONNX Runtime. */
import { afterAll, describe, expect, test } from "vitest";
import type { DType } from "../../../src/core/tensor.ts";
import { attribute } from "../../../src/onnx/index.ts";
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
const x = random("float32", [2, 3, 70]);
const positive = given("float32", [9], [0.1, 0.5, 1, 2, 3, 10, 1e-3, 100, 7]);
const edges = given("float32", [8], [0, -0, 1.5, 2.5, -0.5, -1.5, 1e20, -3]);
const pairs = (operator: string, ...types: readonly DType[]): readonly Case[] =>
  types.flatMap((dtype) => [
    { operator, inputs: [random(dtype, [2, 3, 4]), random(dtype, [2, 3, 4], 2)] },
    { operator, inputs: [random(dtype, [3, 1], 3), random(dtype, [1, 70], 4)] },
    { operator, inputs: [random(dtype, []), random(dtype, [5], 4)] },
    { operator, inputs: [random(dtype, [5, 0]), random(dtype, [1], 4)] },
  ]);
const whole = (dtype: DType) => [
  given(dtype, [6], [7, -7, 7, -7, 6, 0]),
  given(dtype, [6], [3, 3, -3, -3, 3, 5]),
];
const one = (
  operator: string,
  input = x,
  attributes: Case["attributes"] = {},
  opset = 18,
): Case => ({
  operator,
  inputs: [input],
  attributes,
  opset,
});

const arithmetic: Readonly<Record<string, readonly Case[]>> = {
  Add: pairs("Add", "float32", "float16", "int64", "int32", "float64"),
  Sub: pairs("Sub", "float32", "int64", "int32"),
  Mul: [
    ...pairs("Mul", "float32", "float16", "int64"),
    {
      operator: "Mul",
      inputs: [given("int32", [1], [123456789]), given("int32", [1], [987654321])],
    },
  ],
  Div: [
    { operator: "Div", inputs: [x, random("float32", [70], 9)] },
    { operator: "Div", inputs: whole("int64") },
    { operator: "Div", inputs: whole("int32") },
  ],
  Mod: [
    { operator: "Mod", inputs: whole("int64") },
    { operator: "Mod", inputs: whole("int32"), attributes: { fmod: int(1) } },
    {
      operator: "Mod",
      inputs: [x, given("float32", [], [0.7])],
      attributes: { fmod: int(1) },
      bound: 1e-5,
    },
  ],
  Pow: [
    { operator: "Pow", inputs: [positive, constant("float32", [1, 1, 1], [2])] },
    ...[2, 3, 0.5, -1, 1.7].map(
      (p): Case => ({
        operator: "Pow",
        inputs: [positive, constant("float32", [], [p])],
        bound: 4e-6,
      }),
    ),
    {
      operator: "Pow",
      inputs: [positive, given("float32", [9], [1, 2, 0, -1, 0.5, 2, 1, 0.3, 3])],
      bound: 4e-6,
    },
    { operator: "Pow", inputs: [given("int64", [3], [2, 3, -4]), given("int64", [], [3])] },
  ],
  PRelu: [{ operator: "PRelu", inputs: [x, random("float32", [3, 1])] }],
  Min: [
    { operator: "Min", inputs: [x, random("float32", [70]), random("float32", [1, 1])] },
    { operator: "Min", inputs: [random("int64", [3]), random("int64", [3], 2)] },
    {
      operator: "Min",
      inputs: [random("float32", [3]), random("float32", [3], 2), random("float32", [2, 3])],
    },
  ],
  Max: [
    { operator: "Max", inputs: [x] },
    { operator: "Max", inputs: [x, given("float32", [], [0])] },
  ],
  Sum: [{ operator: "Sum", inputs: [x, x, random("float32", [3, 1])] }],
  Mean: [{ operator: "Mean", inputs: [x, random("float32", [3, 1])] }],
};

const logic: Readonly<Record<string, readonly Case[]>> = Object.fromEntries([
  ...["Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"].map((operator) => [
    operator,
    [
      ...pairs(operator, "float32", "int64", "int32"),
      {
        operator,
        inputs: [given("float32", [3], [1, 2, Number.NaN]), given("float32", [3], [1, 1, 1])],
      },
    ],
  ]),
  ...["And", "Or", "Xor"].map((operator) => [operator, pairs(operator, "bool")]),
  ["EqualBool", pairs("Equal", "bool")],
  ["Not", [one("Not", random("bool", [3, 50]))]],
  ["IsNaN", [one("IsNaN", given("float32", [3], [1, Number.NaN, Number.POSITIVE_INFINITY]))]],
  ["IsInf", [one("IsInf", given("float32", [3], [1, Number.NaN, Number.NEGATIVE_INFINITY]))]],
]);

const functions: Readonly<Record<string, readonly Case[]>> = {
  ...Object.fromEntries(
    [
      "Relu",
      "Sigmoid",
      "Tanh",
      "Erf",
      "Exp",
      "Neg",
      "Abs",
      "Sin",
      "Cos",
      "Sign",
      "Softplus",
      "HardSwish",
    ].map((operator) => [
      operator,
      [one(operator), one(operator, random("float32", [0])), one(operator, random("float32", []))],
    ]),
  ),
  ...Object.fromEntries(
    ["Log", "Sqrt", "Reciprocal"].map((operator) => [operator, [one(operator, positive)]]),
  ),
  ...Object.fromEntries(
    ["Floor", "Ceil", "Round"].map((operator) => [operator, [one(operator, edges), one(operator)]]),
  ),
  NegInt: [one("Neg", random("int64", [5]))],
  AbsInt: [one("Abs", random("int32", [5]))],
  HalfRelu: [one("Relu", random("float16", [33]))],
  Elu: [one("Elu"), one("Elu", x, { alpha: float(0.3) })],
  LeakyRelu: [one("LeakyRelu", x, { alpha: float(0.2) })],
  HardSigmoid: [one("HardSigmoid"), one("HardSigmoid", x, { alpha: float(0.4), beta: float(0.1) })],
  Gelu: [one("Gelu", x, {}, 20), one("Gelu", x, { approximate: str("tanh") }, 20)],
  Clip: [
    {
      operator: "Clip",
      inputs: [x, constant("float32", [], [-1]), constant("float32", [], [0.5])],
    },
    { operator: "Clip", inputs: [x, undefined, given("float32", [], [0.5])] },
    { operator: "Clip", inputs: [random("int64", [9]), constant("int64", [], [-2])] },
    one("Clip", x, { min: float(-0.5) }, 10),
  ],
};

const numeric = [
  "float32",
  "float16",
  "float64",
  "int64",
  "int32",
  "int8",
  "uint8",
  "bool",
] as const;
const codes: Readonly<Record<DType, number>> = {
  float32: 1,
  uint8: 2,
  int8: 3,
  int32: 6,
  int64: 7,
  bool: 9,
  float16: 10,
  float64: 11,
} as unknown as Readonly<Record<DType, number>>;
const casts: readonly Case[] = numeric.flatMap((from) =>
  numeric.map((to): Case => {
    // Numbers that every type holds: what lies outside is undefined in ONNX.
    const numbers =
      from === "bool"
        ? [0, 1, 1]
        : /^(float|int(8|32|64)$)/.test(from) && !/^u|bool/.test(to)
          ? [0, 3, -7]
          : [0, 3, 7];
    const isFraction = from.startsWith("float");
    return {
      operator: "Cast",
      inputs: [given(from, [3], isFraction ? numbers.map((n) => n * 1.25) : numbers)],
      attributes: { to: int(codes[to]) },
      opset: 18,
    };
  }),
);

const reductions: Readonly<Record<string, readonly Case[]>> = Object.fromEntries([
  ...[
    "ReduceSum",
    "ReduceMean",
    "ReduceMax",
    "ReduceMin",
    "ReduceL1",
    "ReduceL2",
    "ReduceSumSquare",
    "ReduceProd",
    "ReduceLogSumExp",
  ].map((operator) => [
    operator,
    [
      { operator, inputs: [x, constantInts(-1)], bound: 1e-5 },
      { operator, inputs: [x, constantInts(1)], attributes: { keepdims: int(0) }, bound: 1e-5 },
      { operator, inputs: [x, constantInts(0, 2)], bound: 1e-5 },
      {
        operator,
        inputs: [random("float32", [3, 4])],
        attributes: { keepdims: int(0) },
        bound: 1e-5,
      },
      { operator, inputs: [random("float32", [3, 4]), ints(0)], bound: 1e-5 },
      {
        operator,
        inputs: [random("float32", [3, 4]), constantInts()],
        attributes: { noop_with_empty_axes: int(1) },
        bound: 1e-5,
      },
      ...(operator === "ReduceSum"
        ? []
        : [one(operator, random("float32", [3, 4]), { axes: list([-1]) }, 11)]),
      { operator, inputs: [random("float16", [3, 8], 1, 0.5), constantInts(1)], bound: 2e-3 },
    ].map((item) => ({ ...item })),
  ]),
  ["ReduceLogSum", [{ operator: "ReduceLogSum", inputs: [positive, constantInts(0)] }]],
  ["ReduceSumInt", [{ operator: "ReduceSum", inputs: [random("int64", [3, 4]), constantInts(1)] }]],
  ["ReduceMaxInt", [{ operator: "ReduceMax", inputs: [random("int32", [3, 4]), constantInts(0)] }]],
  ...["ArgMax", "ArgMin"].map((operator) => [
    operator,
    [
      one(operator),
      one(operator, x, { axis: int(-1), keepdims: int(0) }),
      one(operator, given("float32", [5], [1, 3, 3, -1, -1]), { select_last_index: int(1) }),
      one(operator, random("int32", [3, 4])),
    ],
  ]),
  ...["Softmax", "LogSoftmax"].map((operator) => [
    operator,
    [
      one(operator),
      one(operator, x, { axis: int(1) }),
      one(operator, x, {}, 11),
      one(operator, x, { axis: int(2) }, 11),
      one(operator, random("float16", [3, 9])),
      one(operator, random("float32", [0, 3])),
    ],
  ]),
]);

const image = random("float32", [2, 3, 40]);
const affine: Readonly<Record<string, readonly Case[]>> = {
  QuantizeLinear: [
    {
      operator: "QuantizeLinear",
      inputs: [image, constant("float32", [], [0.05]), constant("uint8", [], [128])],
    },
    {
      operator: "QuantizeLinear",
      inputs: [
        image,
        constant("float32", [3], [0.05, 0.1, 0.02]),
        constant("int8", [3], [0, 3, -5]),
      ],
    },
    {
      operator: "QuantizeLinear",
      inputs: [image, given("float32", [40], Array(40).fill(0.05))],
      attributes: { axis: int(-1) },
    },
    {
      operator: "QuantizeLinear",
      inputs: [image, given("float32", [], [0.001]), given("int16", [], [4])],
      opset: 21,
    },
  ],
  DequantizeLinear: [
    {
      operator: "DequantizeLinear",
      inputs: [
        random("uint8", [2, 3, 5]),
        constant("float32", [], [0.05]),
        constant("uint8", [], [28]),
      ],
    },
    {
      operator: "DequantizeLinear",
      inputs: [
        random("int8", [2, 3, 5]),
        constant("float32", [3], [0.05, 0.1, 0.2]),
        constant("int8", [3], [0, 3, -5]),
      ],
    },
    {
      operator: "DequantizeLinear",
      inputs: [random("int32", [2, 3]), constant("float32", [3], [0.05, 0.1, 0.2])],
    },
    {
      operator: "DequantizeLinear",
      inputs: [
        random("int8", [2, 6, 2]),
        random("float32", [2, 3, 2]),
        random("int8", [2, 3, 2], 4),
      ],
      attributes: { axis: int(1), block_size: int(2) },
      opset: 21,
    },
    {
      operator: "DequantizeLinear",
      inputs: [random("int8", [2, 3]), given("float16", [], [0.5])],
      opset: 19,
    },
  ],
  DequantizeLinear4: [
    {
      operator: "DequantizeLinear",
      inputs: [
        {
          tensor: {
            dtype: "int4",
            shape: [4, 3],
            data: Uint8Array.of(0x18, 0xf7, 0x3a, 0x92, 0x4c, 0xb5),
          },
          isConstant: true,
        },
        random("float32", [2, 3]),
      ],
      attributes: { axis: int(0), block_size: int(2) },
      opset: 21,
    },
    {
      operator: "DequantizeLinear",
      inputs: [
        {
          tensor: { dtype: "uint4", shape: [3], data: Uint8Array.of(0x18, 0x07) },
          isConstant: true,
        },
        given("float32", [], [0.5]),
        { tensor: { dtype: "uint4", shape: [], data: Uint8Array.of(8) }, isConstant: true },
      ],
      opset: 21,
    },
  ],
  DynamicQuantizeLinear: [{ operator: "DynamicQuantizeLinear", inputs: [image], outputs: 3 }],
};

const suites = { ...arithmetic, ...logic, ...functions, Cast: casts, ...reductions, ...affine };
describe.each(Object.entries(suites))("%s", (_, cases) => {
  test.each(cases.map((item, index) => ({ item, index })))(
    "case $index: |error| ≤ 2e-6 · (1 + |y|) unless it says otherwise",
    ({ item }) => expectSame(runtime, item),
  );
});

test("an operand that one run overwrites is kept in the next, where it broadcasts", async () => {
  const model = graph()
    .input("x", "float32", ["s", 1])
    .input("y", "float32", [1, "t"])
    .output("z", "float32")
    .node("Relu", ["x"], ["a"])
    .node("Relu", ["y"], ["b"])
    .node("Add", ["a", "b"], ["z"])
    .model();
  const session = await createSession(model, { fallback: "none", threads: 1 });
  for (const [s, t] of [
    [4, 1],
    [4, 3],
    [1, 3],
    [2, 3],
  ]) {
    const column = Float32Array.from({ length: s }, (_, i) => 1 + i);
    const row = Float32Array.from({ length: t }, (_, i) => 10 * (1 + i));
    const { z } = await session.run({
      x: { type: "float32", dims: [s, 1], data: column },
      y: { type: "float32", dims: [1, t], data: row },
    });
    const wanted = [...column].flatMap((a) => [...row].map((b) => a + b));
    expect([...(z.data as Float32Array)]).toEqual(wanted);
  }
  await session.release();
});
