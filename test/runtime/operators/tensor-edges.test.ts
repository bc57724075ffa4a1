/**
 * Numbers and shapes at the edges: NaN, infinities, integers that do not fit, scalars, empty tensors. Kernels and
 * JavaScript forms against ONNX Runtime.
 */
import { afterAll, describe, expect, test } from "vitest";
import { type DType, dtypes } from "../../../src/core/tensor.ts";
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

const { int, ints: list, str } = attribute;
const { NaN: nan, POSITIVE_INFINITY: infinity } = Number;
const floats = (...numbers: readonly number[]) => given("float32", [numbers.length], numbers);
const specials = floats(nan, infinity, -infinity, 0, -0, 1, -1, 2.5, -3.5, 1e-40);
const others = floats(1, infinity, infinity, nan, -0, 0, 0, -2, nan, 1e-40);
const to = (dtype: DType) => ({ to: int(dtypes[dtype].code) });

const functions = [
  ...["Relu", "Sigmoid", "Tanh", "Erf", "Exp", "Log", "Sqrt", "Reciprocal", "Neg", "Abs"],
  ...["Floor", "Ceil", "Round", "Sign", "Softplus", "Elu", "LeakyRelu", "HardSigmoid", "Selu"],
  ...["Celu", "ThresholdedRelu", "Softsign", "HardSwish", "Mish", "Atan", "Sinh", "Asinh"],
  ...["Softmax", "LogSoftmax", "IsNaN", "IsInf"],
];
const pairs = ["Add", "Sub", "Mul", "Div", "Min", "Max", "Pow", "Less", "Greater", "Equal"];
const reductions = [
  ...["ReduceMax", "ReduceMin", "ReduceSum", "ReduceMean", "ReduceProd", "ReduceL1", "ReduceL2"],
  ...["ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp"],
];
const integers = ["int64", "int32", "int16", "uint16", "uint32"] as const;
const far: Readonly<Record<(typeof integers)[number], readonly number[]>> = {
  int64: [0, -1, 70000, 2 ** 31, 2 ** 32 + 5, -(2 ** 31) - 1, -(2 ** 40)],
  int32: [0, -1, 300, 70000, -70000, 2 ** 31 - 1, -(2 ** 31)],
  int16: [0, -1, 255, 256, -300, 32767, -32768],
  uint16: [0, 1, 255, 256, 40000, 65535],
  uint32: [0, 255, 256, 65536, 2 ** 31, 2 ** 32 - 1],
};
const narrow = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "bool", "float16"] as const;

const cases: Readonly<Record<string, readonly Case[]>> = {
  ...Object.fromEntries(
    functions.map((operator) => [operator, [{ operator, inputs: [specials], bound: 4e-6 }]]),
  ),
  ...Object.fromEntries(
    pairs.map((operator) => [operator, [{ operator, inputs: [specials, others], bound: 4e-6 }]]),
  ),
  ...Object.fromEntries(
    reductions.map((operator) => [
      operator,
      [
        { operator, inputs: [specials, constantInts(0)], bound: 1e-5 },
        {
          operator,
          inputs: [given("float32", [3, 2], [nan, 1, infinity, 2, 3, -infinity]), constantInts(1)],
          bound: 1e-5,
        },
        { operator, inputs: [given("float32", [], [3])], attributes: { keepdims: int(0) } },
        { operator, inputs: [given("float32", [0, 3], []), constantInts(1)] },
        { operator, inputs: [given("int64", [2, 2], [7, 4, 2, 5]), constantInts(1)] },
      ],
    ]),
  ),
  Powers: [
    {
      operator: "Pow",
      inputs: [
        floats(-8, 0, 0, -0, infinity, 1, 1, -1, -1),
        floats(1 / 3, 0, -1, -1, 0, nan, -infinity, infinity, -infinity),
      ],
    },
    { operator: "Pow", inputs: [given("int64", [3], [2, 1, -1]), ints(-1, -2, -3)] },
  ],
  Cast: [
    ...integers.flatMap((from) =>
      narrow.map((dtype): Case => {
        const numbers = far[from];
        const input = given(from, [numbers.length], numbers);
        return { operator: "Cast", inputs: [input], attributes: to(dtype) };
      }),
    ),
    { operator: "Cast", inputs: [specials], attributes: to("float16") },
    { operator: "Cast", inputs: [specials], attributes: to("bool") },
  ],
  Bits: [
    {
      operator: "BitwiseAnd",
      inputs: [
        given("int64", [3], [2 ** 40 + 5, -1, -(2 ** 35) - 3]),
        given("int64", [3], [2 ** 40 + 3, 2 ** 36 + 1, 2 ** 37 - 1]),
      ],
    },
    { operator: "BitwiseOr", inputs: [ints(2 ** 40 + 5, -1), ints(2 ** 33 + 3, 2 ** 36)] },
    {
      operator: "BitwiseXor",
      inputs: [given("uint32", [2], [2 ** 31 + 5, 1]), given("uint32", [2], [3, 2 ** 31])],
    },
  ],
  Squeeze: [{ operator: "Squeeze", inputs: [random("float32", [1, 3, 1]), constantInts()] }],
  Shape: [
    {
      operator: "Shape",
      inputs: [random("float32", [2, 3, 4])],
      attributes: { start: int(-5), end: int(9) },
    },
  ],
  NonZero: [
    { operator: "NonZero", inputs: [given("float32", [2, 3], [0, nan, -0, 1, 0, 2])] },
    { operator: "NonZero", inputs: [given("float32", [], [2])] },
    { operator: "NonZero", inputs: [given("float32", [], [0])] },
  ],
  TopK: [
    { operator: "TopK", inputs: [floats(1, 3, 3, 0, -0), ints(4)], outputs: 2 },
    { operator: "TopK", inputs: [floats(1, nan, 3, 2), ints(3)], outputs: 2 },
    { operator: "TopK", inputs: [random("float32", [4, 3]), ints(0)], outputs: 2 },
  ],
  Slice: [
    {
      operator: "Slice",
      inputs: [random("float32", [5]), ints(-1), ints(-(2 ** 60)), ints(0), ints(-1)],
    },
    { operator: "Slice", inputs: [random("float32", [0, 3]), ints(0), ints(5), ints(0), ints(-1)] },
  ],
  Scatter: [
    {
      operator: "ScatterND",
      inputs: [random("float32", [4, 3]), given("int64", [0, 1], []), given("float32", [0, 3], [])],
    },
    ...["add", "mul", "max", "min"].map(
      (reduction): Case => ({
        operator: "ScatterElements",
        inputs: [
          random("float32", [4, 3]),
          given("int64", [2, 2], [1, -1, 1, 2]),
          random("float32", [2, 2], 9),
        ],
        attributes: { reduction: str(reduction), axis: int(1) },
      }),
    ),
  ],
  Quantize: (["uint8", "int8"] as const).map((dtype) => ({
    operator: "QuantizeLinear",
    inputs: [
      floats(infinity, -infinity, 1e30, 0.5, 1.5, 2.5, -0.5, 127.5, 300),
      given("float32", [], [1]),
      given(dtype, [], [3]),
    ],
  })),
  // In float64 some of these lie just beside the pixel that float32 hits.
  Resize: ["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"].flatMap((rounding) =>
    [0.6, 0.7].map((scale) => ({
      operator: "Resize",
      inputs: [random("float32", [1, 2, 10, 5]), undefined, constant("float32", [2], [scale, 0.5])],
      attributes: { axes: list([2, 3]), nearest_mode: str(rounding) },
    })),
  ),
};

describe.each(Object.entries(cases))("%s", (_, several) => {
  test.each(several.map((one, index) => ({ one, index })))(
    "case $index equals ONNX Runtime",
    ({ one }) => expectSame(runtime, one),
  );
});

describe("a cast to a type of 16 bits rounds to it", () => {
  const numbers = [1.00048828125, 1.0004885, 1.00146484375, 65519, 65520, -7e4, 1e-8, 5.9e-8, -0];
  const wide = Float32Array.from([
    ...numbers,
    3.40282e38,
    nan,
    infinity,
    0.1,
    1 / 3,
    257,
    16777217,
  ]);

  /** x of the first type → the second → float32. */
  const model = (first: DType, second: DType) =>
    graph()
      .input("x", first)
      .node("Cast", ["x"], ["narrow"], to(second))
      .node("Cast", ["narrow"], ["y"], to("float32"))
      .output("y", "float32")
      .model();

  test.each([
    ["float32", "float16"],
    ["float32", "bfloat16"],
    ["float64", "float16"],
    ["int32", "bfloat16"],
    ["int64", "float16"],
    ["float16", "bfloat16"],
  ] as const)("%s to %s", async (first, second) => {
    const isWhole = first.startsWith("int");
    const source = isWhole ? [0, 1, 257, -4099, 65519, 65520, 16777217, -2147483648] : [...wide];
    const { dtype, shape, data } = given(first, [source.length], source).tensor;
    const file = model(first, second);
    const reference = await runtime.open(file, { optimize: "none" });
    const wanted = (await reference.run({ x: { dtype, shape, data } })).y.data as Float32Array;
    await reference.release();
    const session = await createSession(file, { threads: 1, fallback: "none" });
    const { y } = await session.run({ x: { type: dtype, dims: shape, data } });
    await session.release();
    expect([...(y.data as Float32Array)]).toEqual([...wanted]);
  });

  test("also where it is computed when the session opens", async () => {
    const file = graph()
      .input("x", "float32", [1])
      .initializer("c", [2], Float32Array.of(1.0004885, 0.1))
      .node("Cast", ["c"], ["n"], to("float16"))
      .node("Cast", ["n"], ["w"], to("float32"))
      .node("Add", ["x", "w"], ["y"])
      .output("y", "float32")
      .model();
    const session = await createSession(file, { threads: 1, fallback: "none" });
    const { y } = await session.run({
      x: { type: "float32", dims: [1], data: Float32Array.of(0) },
    });
    await session.release();
    expect([...(y.data as Float32Array)]).toEqual([1 + 2 ** -10, Math.fround(0.0999755859375)]);
  });
});

test("a cast of NaN to int64 gives an integer", async () => {
  const file = graph()
    .input("x", "float32", [2])
    .node("Cast", ["x"], ["y"], to("int64"))
    .output("y", "int64")
    .model();
  const session = await createSession(file, { threads: 1, fallback: "none" });
  const data = Float32Array.of(nan, -2.75);
  const { y } = await session.run({ x: { type: "float32", dims: [2], data } });
  await session.release();
  expect(y.data).toEqual(BigInt64Array.of(0n, -2n));
});

test.each(["ArgMax", "ArgMin"])("%s passes NaN over, wherever it stands", async (operator) => {
  const file = graph()
    .input("x", "float32", ["n", 4])
    .initializer("c", [4], Float32Array.of(nan, 2, 2, nan))
    .node(operator, ["x"], ["y"], { axis: int(1), keepdims: int(0) })
    .node(operator, ["c"], ["z"])
    .output("y", "int64")
    .output("z", "int64")
    .model();
  const session = await createSession(file, { threads: 1, fallback: "none" });
  const data = Float32Array.of(nan, 2, 2, nan, 5, nan, 5, 5, nan, nan, nan, nan);
  const { y, z } = await session.run({ x: { type: "float32", dims: [3, 4], data } });
  await session.release();
  expect(y.data).toEqual(BigInt64Array.of(1n, 0n, 0n));
  expect(z.data).toEqual(BigInt64Array.of(1n));
});

describe("indices and updates that do not fit the data are said", () => {
  test.each([
    ["GatherElements", [2, 5], [], /indices \[2, 5\] leave the data \[3, 4\]/],
    ["GatherElements", [2], [], /leave the data/],
    ["ScatterElements", [2, 5], [2, 5], /leave the data/],
    ["ScatterElements", [2, 2], [2, 1], /updates \[2, 1\] where \[2, 2\] belong/],
    ["ScatterND", [2, 1], [2, 3], /updates \[2, 3\] where \[2, 4\] belong/],
    ["ScatterND", [2, 3], [2], /indices of 3 numbers into 2 dimensions/],
  ] as const)("%s with indices %j, updates %j", async (operator, ids, updates, message) => {
    const isScatter = operator.startsWith("Scatter");
    const builder = graph().input("x", "float32").input("ids", "int64").output("y", "float32");
    if (isScatter) builder.input("u", "float32");
    builder.node(operator, ["x", "ids", ...(isScatter ? ["u"] : [])], ["y"]);
    const session = await createSession(builder.model(), { threads: 1, fallback: "none" });
    const floatsOf = (sizes: readonly number[]) => random("float32", sizes).tensor;
    const feed = ({ dtype, shape, data }: ReturnType<typeof floatsOf>) => ({
      type: dtype,
      dims: shape,
      data,
    });
    const count = ids.reduce((product: number, size) => product * size, 1);
    const failed = session.run({
      x: feed(floatsOf([3, 4])),
      ids: { type: "int64", dims: ids, data: new BigInt64Array(count) },
      ...(isScatter && { u: feed(floatsOf(updates)) }),
    });
    await expect(failed).rejects.toMatchObject({ code: "bad-data" });
    await expect(failed).rejects.toThrow(message);
    await session.release();
  });
});
