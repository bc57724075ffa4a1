/**
 * Convolutions and pools against ONNX Runtime, and the JavaScript forms against the compiled ones.
 */
import { afterAll, expect, test } from "vitest";
import { type Attribute, attribute } from "../../../src/onnx/index.ts";
import { createSession } from "../../../src/runtime/create-session.ts";
import { createRuntime } from "../../../src/runtime/index.ts";
import { operators } from "../../../src/runtime/operators/index.ts";
import { hostTensor } from "../../../src/runtime/session/storage.ts";
import {
  difference,
  type FloatType,
  type NodeCase,
  nodeModel,
  normalTensor,
  onKernels,
  onOrt,
} from "./matrix-case.ts";

const runtime = createRuntime();
afterAll(() => runtime.close());

const { int, ints, str } = attribute;

/** Both ways to run the node here; returns the larger of the two differences. */
async function worst(each: NodeCase): Promise<number> {
  const { model, feeds } = nodeModel(each);
  const expected = await onOrt(runtime, model, feeds);
  const got = await onKernels(model, feeds);
  const errors = Object.keys(expected).map((name) => difference(got[name], expected[name]));
  const [node] = model.graph.nodes;
  const isFloat32 = each.inputs.every((input) => !input || input.dtype === "float32");
  if (isFloat32) {
    const inputs = each.inputs.map(
      (tensor) => tensor && hostTensor("float32", tensor.shape, tensor.data as Float32Array),
    );
    const out = hostTensor("float32", expected.o0.shape);
    operators[each.operator].compute?.({ ...node, opset: each.opset ?? 18 }, inputs, [out]);
    errors.push(difference({ ...expected.o0, values: Float64Array.from(out.data) }, expected.o0));
  }
  return Math.max(...errors);
}

type Attributes = Readonly<Record<string, Attribute>>;
type Shape = readonly number[];

const convolutions: readonly (readonly [string, Shape, Shape, Attributes])[] = [
  ["2-D", [2, 3, 9, 8], [5, 3, 3, 3], {}],
  ["1-D", [2, 3, 19], [5, 3, 4], { strides: ints([2]), pads: ints([1, 3]) }],
  ["1 × 1", [1, 8, 5, 6], [10, 8, 1, 1], {}],
  ["grouped", [1, 6, 7, 7], [4, 3, 3, 2], { group: int(2), dilations: ints([2, 1]) }],
  ["depthwise", [2, 5, 9, 9], [5, 1, 3, 3], { group: int(5), pads: ints([1, 1, 1, 1]) }],
  [
    "same, upper",
    [1, 3, 10, 7],
    [4, 3, 3, 4],
    { auto_pad: str("SAME_UPPER"), strides: ints([2, 3]) },
  ],
  [
    "same, lower",
    [1, 3, 10, 7],
    [4, 3, 4, 2],
    { auto_pad: str("SAME_LOWER"), strides: ints([1, 2]) },
  ],
];

test.each(convolutions)(
  "Conv, %s: |difference| ≤ 1e-5·max|y|",
  async (_, x, weight, attributes) => {
    for (const constants of [[1, 2], []]) {
      for (const hasBias of [true, false]) {
        const inputs = [
          normalTensor(x, "float32", 1),
          normalTensor(weight, "float32", 2),
          hasBias ? normalTensor([weight[0]], "float32", 3) : undefined,
        ];
        expect(await worst({ operator: "Conv", inputs, attributes, constants })).toBeLessThan(1e-5);
      }
    }
  },
);

const transposed: readonly (readonly [string, Shape, Shape, Attributes])[] = [
  ["2-D", [2, 3, 5, 4], [3, 4, 3, 3], { strides: ints([2, 2]), pads: ints([1, 0, 1, 1]) }],
  ["1-D", [1, 4, 9], [4, 3, 4], { strides: ints([3]), output_padding: ints([1]) }],
  ["grouped", [1, 6, 4, 4], [6, 2, 2, 3], { group: int(3), dilations: ints([1, 2]) }],
  [
    "output shape",
    [1, 2, 5, 5],
    [2, 3, 3, 3],
    { strides: ints([2, 2]), output_shape: ints([10, 10]) },
  ],
  ["same", [1, 2, 5, 5], [2, 3, 3, 3], { strides: ints([2, 2]), auto_pad: str("SAME_UPPER") }],
  [
    "same, window shorter than the stride",
    [1, 2, 5, 4],
    [2, 3, 1, 2],
    { strides: ints([3, 2]), auto_pad: str("SAME_LOWER") },
  ],
];

test.each(transposed)(
  "ConvTranspose, %s: |difference| ≤ 1e-5·max|y|",
  async (_, x, weight, attributes) => {
    const channels = weight[1] * (attributes.group?.type === "int" ? attributes.group.value : 1);
    for (const constants of [[1, 2], []]) {
      const inputs = [
        normalTensor(x, "float32", 1),
        normalTensor(weight, "float32", 2),
        normalTensor([channels], "float32", 3),
      ];
      const each = { operator: "ConvTranspose", inputs, attributes, constants };
      expect(await worst(each)).toBeLessThan(1e-5);
    }
  },
);

const pools: readonly (readonly [Shape, Attributes])[] = [
  [[2, 3, 9, 8], { kernel_shape: ints([2, 3]) }],
  [[1, 2, 13], { kernel_shape: ints([3]), strides: ints([2]), pads: ints([1, 1]) }],
  [[1, 2, 10, 7], { kernel_shape: ints([3, 3]), strides: ints([2, 2]), ceil_mode: int(1) }],
  [
    [1, 2, 10, 7],
    { kernel_shape: ints([3, 2]), auto_pad: str("SAME_UPPER"), strides: ints([2, 2]) },
  ],
];

test.each(pools)("pools over %j: |difference| ≤ 1e-6·max|y|", async (shape, attributes) => {
  const inputs = [normalTensor(shape, "float32", 1)];
  expect(await worst({ operator: "MaxPool", inputs, attributes })).toBeLessThan(1e-6);
  for (const count of [0, 1]) {
    const counted = { ...attributes, count_include_pad: int(count) };
    const each = { operator: "AveragePool", inputs, attributes: counted, opset: 19 };
    expect(await worst(each)).toBeLessThan(1e-6);
  }
});

test("MaxPool with indices and dilations: equal", async () => {
  const inputs = [normalTensor([2, 3, 8, 9], "float32", 1)];
  for (const storage_order of [0, 1]) {
    const attributes = {
      kernel_shape: ints([2, 2]),
      dilations: ints([2, 3]),
      storage_order: int(storage_order),
    };
    const each: NodeCase = {
      operator: "MaxPool",
      inputs,
      attributes,
      outputs: ["float32", "int64"],
    };
    expect(await worst(each)).toBe(0);
  }
});

test("global pools over one to three axes: |difference| ≤ 1e-6·max|y|", async () => {
  for (const shape of [
    [2, 3, 7],
    [1, 4, 5, 6],
    [2, 2, 3, 4, 5],
  ]) {
    for (const operator of ["GlobalAveragePool", "GlobalMaxPool"]) {
      expect(await worst({ operator, inputs: [normalTensor(shape, "float32", 1)] })).toBeLessThan(
        1e-6,
      );
    }
  }
});

test("float16: |difference| ≤ 2e-3·max|y|", async () => {
  const of = (shape: Shape, seed: number, dtype: FloatType = "float16") =>
    normalTensor(shape, dtype, seed);
  const conv = {
    operator: "Conv",
    inputs: [of([1, 3, 6, 6], 1), of([4, 3, 3, 3], 2)],
    constants: [1],
  };
  expect(await worst(conv)).toBeLessThan(2e-3);
  const pool = { operator: "AveragePool", attributes: { kernel_shape: ints([2, 2]) } };
  expect(await worst({ ...pool, inputs: [of([1, 3, 6, 6], 1)] })).toBeLessThan(2e-3);
});

test("weights without elements: the bias, or nothing", async () => {
  const run = async (operator: string, x: Shape, weight: Shape, constants: readonly number[]) => {
    const inputs = [
      normalTensor(x, "float32", 1),
      normalTensor(weight, "float32", 2),
      { dtype: "float32" as const, shape: [2], data: Float32Array.of(3, -1) },
    ];
    const { model, feeds } = nodeModel({ operator, inputs: inputs.slice(0, 3), constants });
    return (await onKernels(model, feeds)).o0;
  };
  for (const constants of [[], [1]]) {
    for (const operator of ["Conv", "ConvTranspose"]) {
      const weight = operator === "Conv" ? [2, 0, 2] : [0, 2, 2];
      const { shape, values } = await run(operator, [1, 0, 4], weight, constants);
      const length = operator === "Conv" ? 3 : 5;
      expect(shape).toEqual([1, 2, length]);
      expect([...values]).toEqual([...Array(length).fill(3), ...Array(length).fill(-1)]);
    }
    expect((await run("Conv", [1, 3, 4], [0, 3, 2], constants)).shape).toEqual([1, 0, 3]);
  }
});

test("windows over three axes go to ONNX Runtime, whichever attribute says so", async () => {
  const inputs = [normalTensor([1, 1, 3, 3, 3], "float32", 1)];
  const weight = normalTensor([1, 1, 2, 2, 2], "float32", 2);
  const attributes = [{ kernel_shape: ints([2, 2, 2]) }, { pads: ints([0, 0, 0, 0, 0, 0]) }];
  for (const each of attributes) {
    const { model } = nodeModel({
      operator: "Conv",
      inputs: [...inputs, weight],
      attributes: each,
    });
    const session = await createSession(model, { threads: 1 });
    expect(session.nodes.fallback).toBe(1);
    await session.release();
  }
});

test("no images give no images", async () => {
  const inputs = [
    normalTensor([0, 3, 6, 6], "float32", 1),
    normalTensor([4, 3, 3, 3], "float32", 2),
  ];
  const { model, feeds } = nodeModel({ operator: "Conv", inputs, constants: [1] });
  expect((await onKernels(model, feeds)).o0.shape).toEqual([0, 4, 4, 4]);
});
