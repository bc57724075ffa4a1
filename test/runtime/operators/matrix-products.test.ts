/**
 * MatMul, FusedMatMul and Gemm against ONNX Runtime, with packed and with fed operands, and the JavaScript form against
 * the compiled one.
 */
import { afterAll, describe, expect, test } from "vitest";
import type { FeedTensor } from "../../../src/core/feeds.ts";
import { type Attribute, attribute } from "../../../src/onnx/index.ts";
import { createRuntime } from "../../../src/runtime/index.ts";
import { operators } from "../../../src/runtime/operators/index.ts";
import { hostTensor } from "../../../src/runtime/session/storage.ts";
import {
  difference,
  type NodeCase,
  nodeModel,
  normalTensor,
  onKernels,
  onOrt,
} from "./matrix-case.ts";

const runtime = createRuntime();
afterAll(() => runtime.close());

async function check(each: NodeCase, bound: number): Promise<void> {
  const { model, feeds } = nodeModel(each);
  const { o0: expected } = await onOrt(runtime, model, feeds);
  const { o0: got } = await onKernels(model, feeds);
  const shapes = JSON.stringify(each.inputs.map((input) => input?.shape));
  expect(got.shape, shapes).toEqual(expected.shape);
  expect(difference(got, expected), shapes).toBeLessThan(bound);
}

const pairs: readonly (readonly [a: readonly number[], b: readonly number[]])[] = [
  [
    [3, 5],
    [5, 7],
  ],
  [
    [1, 40],
    [40, 33],
  ],
  [
    [2, 9, 40],
    [40, 33],
  ],
  [[40], [40, 9]],
  [[6, 40], [40]],
  [[40], [40]],
  [
    [2, 3, 4, 5],
    [2, 3, 5, 6],
  ],
  [
    [3, 4, 5],
    [2, 1, 5, 6],
  ],
  [
    [2, 1, 4, 5],
    [3, 5, 6],
  ],
];

describe("MatMul: |difference| ≤ 1e-5·max|y|", () => {
  test.each([[[]], [[1]], [[0, 1]]])("constant inputs %j", async (constants) => {
    for (const [a, b] of pairs) {
      const inputs = [normalTensor(a, "float32", 1), normalTensor(b, "float32", 2)];
      await check({ operator: "MatMul", inputs, constants }, 1e-5);
    }
  });

  test("float16: rounded once, 2e-3", async () => {
    const inputs = [normalTensor([4, 24], "float16", 1), normalTensor([24, 10], "float16", 2)];
    await check({ operator: "MatMul", inputs, constants: [1] }, 2e-3);
    await check({ operator: "MatMul", inputs }, 2e-3);
  });

  test("integers: equal, modulo 2^32", async () => {
    const integers = (shape: number[], factor: number): FeedTensor => ({
      dtype: "int32",
      shape,
      data: Int32Array.from({ length: shape[0] * shape[1] }, (_, i) => Math.imul(i + 1, factor)),
    });
    for (const factor of [7, 0x9e3779b1]) {
      const inputs = [integers([3, 40], factor), integers([40, 2], -11)];
      await check({ operator: "MatMul", inputs }, 1e-12);
      await check({ operator: "MatMul", inputs: [inputs[0], integers([40, 2], factor)] }, 1e-12);
    }
  });

  test("empty operands", async () => {
    for (const [a, b] of [
      [
        [0, 5],
        [5, 7],
      ],
      [
        [3, 0],
        [0, 7],
      ],
      [
        [3, 5],
        [5, 0],
      ],
      [
        [2, 0, 5],
        [2, 5, 4],
      ],
    ]) {
      for (const constants of [[], [1]]) {
        const inputs = [normalTensor(a, "float32", 1), normalTensor(b, "float32", 2)];
        const { model, feeds } = nodeModel({ operator: "MatMul", inputs, constants });
        const { o0: result } = await onKernels(model, feeds);
        expect(result.shape).toEqual([...a.slice(0, -1), b.at(-1)]);
        expect(result.values.every((value) => value === 0)).toBe(true);
      }
    }
  });
});

test("FusedMatMul, transposed and scaled: |difference| ≤ 1e-5·max|y|", async () => {
  for (const [transA, transB] of [
    [0, 0],
    [1, 0],
    [0, 1],
    [1, 1],
  ]) {
    const a = normalTensor(transA ? [2, 6, 3] : [2, 3, 6], "float32", 1);
    const attributes = {
      transA: attribute.int(transA),
      transB: attribute.int(transB),
      alpha: attribute.float(0.125),
    };
    const operator = "com.microsoft::FusedMatMul";
    const stack = normalTensor(transB ? [2, 5, 6] : [2, 6, 5], "float32", 2);
    await check({ operator, attributes, inputs: [a, stack] }, 1e-5);
    const matrix = normalTensor(transB ? [5, 6] : [6, 5], "float32", 3);
    await check({ operator, attributes, inputs: [a, matrix], constants: [1] }, 1e-5);
  }
});

describe("Gemm: |difference| ≤ 1e-5·max|y|", () => {
  const biases = [undefined, [], [1], [7], [1, 7], [5, 1], [5, 7]];
  const attributeSets: readonly Readonly<Record<string, Attribute>>[] = [
    {},
    { transA: attribute.int(1) },
    { transB: attribute.int(1), alpha: attribute.float(0.5) },
    { transA: attribute.int(1), transB: attribute.int(1), beta: attribute.float(-2) },
  ];
  test.each([[[]], [[1]], [[1, 2]]])("constant inputs %j, every C", async (constants) => {
    for (const attributes of attributeSets) {
      for (const bias of biases) {
        const inputs = [
          normalTensor(attributes.transA ? [6, 5] : [5, 6], "float32", 1),
          normalTensor(attributes.transB ? [7, 6] : [6, 7], "float32", 2),
          bias && normalTensor(bias, "float32", 3),
        ];
        await check({ operator: "Gemm", attributes, inputs, constants }, 1e-5);
      }
    }
  });

  test("one row, many columns", async () => {
    const inputs = [
      normalTensor([1, 96], "float32", 1),
      normalTensor([96, 130], "float32", 2),
      normalTensor([130], "float32", 3),
    ];
    await check({ operator: "Gemm", inputs, constants: [1, 2], opset: 9 }, 1e-5);
  });
});

test("Gemm with beta = 0 does not see C, here and in the JavaScript form", async () => {
  const attributes = { beta: attribute.float(0) };
  const inputs = [
    normalTensor([3, 4], "float32", 1),
    normalTensor([4, 2], "float32", 2),
    { dtype: "float32" as const, shape: [2], data: Float32Array.of(Number.NaN, Infinity) },
  ];
  const each: NodeCase = { operator: "Gemm", attributes, inputs };
  await check(each, 1e-5);
  const { model, feeds } = nodeModel(each);
  const { o0: expected } = await onOrt(runtime, model, feeds);
  const [node] = model.graph.nodes;
  const out = hostTensor("float32", [3, 2]);
  const host = inputs.map(({ shape, data }) => hostTensor("float32", shape, data as Float32Array));
  operators.Gemm.compute?.({ ...node, opset: 18 }, host, [out]);
  const computed = { shape: out.shape, values: Float64Array.from(out.data) };
  expect(difference(computed, expected)).toBeLessThan(1e-5);
});

test("the JavaScript forms give what the kernels give: |difference| ≤ 1e-5·max|y|", async () => {
  const cases: readonly NodeCase[] = [
    ...pairs.map(([a, b]) => ({
      operator: "MatMul",
      inputs: [normalTensor(a, "float32", 1), normalTensor(b, "float32", 2)],
    })),
    {
      operator: "Gemm",
      attributes: { transA: attribute.int(1), beta: attribute.float(3) },
      inputs: [
        normalTensor([6, 5], "float32", 1),
        normalTensor([6, 7], "float32", 2),
        normalTensor([5, 1], "float32", 3),
      ],
    },
  ];
  for (const each of cases) {
    const { model, feeds } = nodeModel(each);
    const { o0: compiled } = await onKernels(model, feeds);
    const [node] = model.graph.nodes;
    const inputs = each.inputs.map(
      (tensor) => tensor && hostTensor("float32", tensor.shape, tensor.data as Float32Array),
    );
    const out = hostTensor("float32", compiled.shape);
    operators[each.operator].compute?.({ ...node, opset: 18 }, inputs, [out]);
    const computed = { shape: out.shape, values: Float64Array.from(out.data) };
    expect(difference(computed, compiled)).toBeLessThan(1e-5);
  }
});
