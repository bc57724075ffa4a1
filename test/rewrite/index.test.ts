import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { isBitloomError } from "../../src/core/errors.ts";
import { float32Format, formatGrid, integerFormat, parseFormat } from "../../src/core/format.ts";
import { toBfloat16Bits } from "../../src/core/tensor.ts";
import { findLayers } from "../../src/layers/index.ts";
import {
  attribute,
  encodeModel,
  type Model,
  memoryTensor,
  openModel,
} from "../../src/onnx/index.ts";
import { rewriteModel, type TargetName, targets, weightBytes } from "../../src/rewrite/index.ts";
import { createRuntime, type Runtime } from "../../src/runtime/index.ts";
import { normalMatrix } from "../quantize/samples.ts";
import { graph } from "../support/graph-builder.ts";
import { referenceProduct, transpose } from "../support/reference.ts";
import { addedBytes, quantizedLayer, usesModel } from "./quantized-model.ts";
import { numbersOf, relativeError } from "./uses.ts";

let runtime: Runtime;
beforeAll(() => {
  runtime = createRuntime();
});
afterAll(() => runtime.close());

const n = 8;
const k = 32;

/** All layers of a model in one format. */
async function rewritten(model: Model, target: TargetName, format: string): Promise<Model> {
  const { layers } = findLayers(model.graph);
  const parsed = parseFormat(format);
  const quantized = await Promise.all(layers.map((layer) => quantizedLayer(layer, parsed)));
  return rewriteModel(model, quantized, { target });
}

/** One line per node: `output = domain::Operator(inputs)`; the names that a file need not keep are left as they are. */
const textOf = (model: Model) =>
  model.graph.nodes.map(
    ({ domain, opType, inputs, outputs }) =>
      `${outputs} = ${domain ? `${domain}::` : ""}${opType}(${inputs.join(", ")})`,
  );

const tied = () =>
  graph({ opset: 21 })
    .input("ids", "int64", ["batch", "sequence"])
    .initializer("table", [n, k], normalMatrix(n, k, 1).data)
    .node("Gather", ["table", "ids"], ["rows"], {}, "embed")
    .node("Transpose", ["table"], ["t"], { perm: attribute.ints([1, 0]) }, "turn")
    .node("MatMul", ["rows", "t"], ["logits"], {}, "head")
    .output("logits", "float32", ["batch", "sequence", n])
    .model();

describe("the nodes each form writes", () => {
  test.each([
    ["portable", "int4-b16"],
    ["portable", "int6-b32-asym"],
    ["portable", "int3-b32-asym"],
    ["portable", "float16"],
    ["ort", "int6-b32-s32"],
    ["qdq", "int8-row"],
    ["qdq", "int4-b32-asym"],
  ] as const)("%s %s", async (target, format) => {
    const model = await rewritten(tied(), target, format);
    expect([
      ...[...model.graph.initializers.values()].map(
        ({ name, dtype, shape }) => `${name}: ${dtype} [${shape.join(", ")}]`,
      ),
      ...textOf(model),
    ]).toMatchSnapshot();
  });
});

test("inputs, outputs, names and dynamic axes stay; the float weight and its path go", async () => {
  const before = tied();
  const after = await openModel(await encodeModel(await rewritten(before, "portable", "int4-b16")));
  expect(after.graph.inputs).toEqual(before.graph.inputs);
  expect(after.graph.outputs).toEqual(before.graph.outputs);
  expect(after.opsets.get("")).toBe(21);
  expect(after.graph.initializers.has("table")).toBe(false);
  expect(after.graph.nodes.some(({ opType }) => opType === "Transpose")).toBe(false);
});

test("a tied weight is stored once, at the predicted size", async () => {
  const before = tied();
  const [layer] = findLayers(before.graph).layers;
  for (const [name, target] of Object.entries(targets)) {
    for (const format of formatGrid([2, 3, 4, 5, 6, 8], [0, 16, 32], target.scaleType)) {
      if (typeof target.form(layer, format, 21) === "string") continue;
      const after = await rewritten(before, name as TargetName, format.id);
      const blocks = format.blockSize === 0 ? 1 : k / format.blockSize;
      const scales = n * blocks * (target.scaleType === "float16" ? 2 : 4);
      expect(addedBytes(before, after)).toBe(weightBytes(target, layer, format, 21));
      expect(addedBytes(before, after)).toBeGreaterThanOrEqual((n * k * format.bits) / 8 + scales);
      expect(addedBytes(before, after)).toBeLessThanOrEqual(
        (n * k * format.bits) / 8 + scales + 2 * n * blocks,
      );
    }
  }
});

test("float32 leaves the node as it is", async () => {
  const before = tied();
  expect(textOf(await rewritten(before, "portable", "float32"))).toEqual(textOf(before));
  const [layer] = findLayers(before.graph).layers;
  expect(weightBytes(targets.ort, layer, float32Format, 21)).toBe(n * k * 4);
});

test("a second run finds the quantized operators and leaves them", async () => {
  for (const format of ["int3-b16", "int4-b16"]) {
    const once = await rewritten(tied(), "portable", format);
    const { layers, skipped } = findLayers(once.graph);
    expect(layers).toEqual([]);
    expect(skipped.map(({ reason }) => reason)).toEqual([
      expect.stringContaining("already quantized"),
      expect.stringContaining("already quantized"),
    ]);
  }
});

test("a format that the target cannot hold is an error that says why", async () => {
  const before = tied();
  const [layer] = findLayers(before.graph).layers;
  const format = integerFormat({ bits: 3, blockSize: 32, symmetric: true });
  const weight = () => Promise.reject(new Error("not asked for"));
  const isRightError = (error: unknown) =>
    isBitloomError(error, "unsupported") &&
    error.message ===
      'Layer "embed" cannot be written as int3-b32: DequantizeLinear has no 3-bit type. Choose another format for it, or another target.';
  expect(() => weightBytes(targets.qdq, layer, format, 21)).toThrow(expect.toSatisfy(isRightError));
  expect(() => rewriteModel(before, [{ layer, format, weight }], { target: "qdq" })).toThrow(
    expect.toSatisfy(isRightError),
  );
});

test("a bfloat16 graph keeps its type outside and computes in float32 inside, error < 0.01", async () => {
  const weight = normalMatrix(n, k, 2);
  const bits = Uint16Array.from(transpose(weight.data, n, k), toBfloat16Bits);
  const to = (dtype: number) => ({ to: attribute.int(dtype) });
  const model = graph()
    .input("x", "float32", ["rows", k])
    .initializer("w", [k, n], bits, "bfloat16")
    .node("Cast", ["x"], ["x16"], to(16))
    .node("MatMul", ["x16", "w"], ["y16"], {}, "product")
    .node("Cast", ["y16"], ["y"], to(1))
    .output("y", "float32")
    .model();
  const [layer] = findLayers(model.graph).layers;
  const quantized = await quantizedLayer(layer, parseFormat("int8-b32-asym"));
  const x = normalMatrix(3, k, 4).data;
  const expected = referenceProduct(x, transpose(quantized.meaning.data, n, k), 3, k, n);
  const session = await runtime.open(rewriteModel(model, [quantized], { target: "portable" }));
  const { y } = await session.run({ x: { dtype: "float32", shape: [3, k], data: x } });
  expect(relativeError(numbersOf(y), expected)).toBeLessThan(0.01);
});

test("a weight in a Constant node, behind Identity and Cast, is replaced with its path", async () => {
  const weight = normalMatrix(k, n, 3).data;
  const model = graph()
    .input("x", "float32", ["rows", k])
    .node("Constant", [], ["w"], {
      value: attribute.tensor(memoryTensor("w", "float32", [k, n], weight)),
    })
    .node("Identity", ["w"], ["same"])
    .node("Cast", ["same"], ["cast"], { to: attribute.int(1) })
    .node("MatMul", ["x", "cast"], ["y"], {}, "product")
    .output("y", "float32")
    .model();
  const after = await rewritten(model, "ort", "int4-b32-s32");
  expect(textOf(after)).toEqual(["y = com.microsoft::MatMulNBits(x, w_codes, w_scales)"]);
});

describe("the ort target as it is written: activations rounded to 8 bits inside the kernel", () => {
  test.each([2, 4, 6, 8])("int%i: error < 0.02, with and without optimisation", async (bits) => {
    const formats = formatGrid([bits], [16, 32, 128, 256], "float32");
    for (const shape of [
      { n: 37, k: 172 },
      { n: 24, k: 64 },
    ]) {
      const model = await usesModel({ target: targets.ort, formats, shape, opset: 18 });
      for (const optimize of ["none", "all"] as const) {
        const session = await runtime.open(model.quantized, { optimize });
        const results = await session.run(model.feeds, [...model.expected.keys()]);
        for (const [output, values] of model.expected) {
          const error = relativeError(numbersOf(results[output]), values);
          expect(error, `${output}, optimisation ${optimize}`).toBeLessThan(0.02);
        }
        await session.release();
      }
    }
  });
});
