/** Convolutions: the node stays, its weight is unpacked in front of it. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { formatGrid, integerBits, parseFormat } from "../../src/core/format.ts";
import { findLayers } from "../../src/layers/index.ts";
import { editModel, encodeModel, type Model, openModel } from "../../src/onnx/index.ts";
import {
  mainOpset,
  rewriteModel,
  supports,
  type Target,
  type TargetName,
  targets,
  weightBytes,
} from "../../src/rewrite/index.ts";
import { createRuntime, createSession, type Runtime, Tensor } from "../../src/runtime/index.ts";
import { referenceConv } from "../support/reference-conv.ts";
import { columnsOf, type ToyConv, toyConvModel, toyConvs } from "../support/toy-convs.ts";
import { floatFeed, normals, numbersOf } from "../support/toy-models.ts";
import { addedBytes, quantizedLayer } from "./quantized-model.ts";
import { relativeError } from "./uses.ts";

let runtime: Runtime;
beforeAll(() => {
  runtime = createRuntime();
});
afterAll(() => runtime.close());

const registry = Object.entries(targets) as [TargetName, Target][];
const opsets = [9, 13, 18, 21, 25];

/** A convolution in a format, and what it must give; undefined when the target cannot hold it. */
async function written(
  conv: ToyConv,
  target: Target,
  id: string,
  options: { readonly opset?: number; readonly functionBody?: "folded" | "packed" } = {},
) {
  const { opset = 18, functionBody } = options;
  const float = toyConvModel(conv, { opset });
  const [layer] = findLayers(float.graph).layers;
  const format = parseFormat(id);
  if (supports(target, layer, format, opset) !== true) return undefined;
  const quantized = await quantizedLayer(layer, format);
  const model = rewriteModel(float, [quantized], { target, functionBody });
  const x = normals(
    conv.shape.reduce((a, b) => a * b, 1),
    7,
  );
  const expected = referenceConv(x, conv.shape, quantized.meaning.data, conv.outputs, conv.window);
  const area = expected.length / conv.shape[0] / conv.outputs;
  const bias = normals(conv.outputs, 4);
  for (let i = 0; i < expected.length; i++) {
    expected[i] += bias[Math.floor(i / area) % conv.outputs];
  }
  const feeds = { x: floatFeed(x, conv.shape) };
  const tensors = { x: new Tensor("float32", x, conv.shape) };
  return { float, layer, format, model, feeds, tensors, expected };
}

const idsOf = ({ scaleType }: Target, blocks: readonly number[]) =>
  formatGrid(integerBits, blocks, scaleType).map(({ id }) => id);

describe.each(registry)("%s", (_name, target) => {
  test.each(toyConvs)("$name: what the dequantized kernels give, error < 1e-5", async (conv) => {
    let accepted = 0;
    for (const [i, id] of idsOf(target, [0, 16, 64]).entries()) {
      const opset = opsets[i % opsets.length];
      const sample = await written(conv, target, id, { opset });
      if (!sample) continue;
      accepted++;
      const reopened = await openModel(await encodeModel(sample.model));
      expect(addedBytes(sample.float, reopened)).toBe(
        weightBytes(target, sample.layer, sample.format, mainOpset(sample.float)),
      );
      for (const optimize of ["none", "all"] as const) {
        const session = await runtime.open(reopened, { optimize });
        const { y } = await session.run(sample.feeds);
        await session.release();
        const error = relativeError(numbersOf(y), sample.expected);
        expect(error, `${id}, opset ${opset}, optimisation ${optimize}`).toBeLessThan(1e-5);
      }
    }
    expect(accepted).toBeGreaterThan(3);
  });

  test.each(toyConvs.filter(({ window }) => window.kernel.length < 3))(
    "$name: our session runs it whole, error < 1e-5",
    async (conv) => {
      for (const id of idsOf(target, [0, 32])) {
        const sample = await written(conv, target, id, { opset: 21 });
        if (!sample) continue;
        const session = await createSession(sample.model, { fallback: "none", threads: 1 });
        // The weight is a constant: all that runs is the convolution.
        expect(session.nodes).toEqual({ total: 1, fallback: 0 });
        const { y } = await session.run(sample.tensors);
        await session.release();
        const error = relativeError(y.data as Float32Array, sample.expected);
        expect(error, id).toBeLessThan(1e-5);
      }
    },
  );
});

test.each(["int3-b16", "int5-row-asym", "int8-b32-asym"])(
  "%s with a packed body: the weight stays packed until the node runs, error < 1e-5",
  async (id) => {
    for (const conv of [toyConvs[0], toyConvs[7]]) {
      for (const opset of [9, 18]) {
        const options = { opset, functionBody: "packed" } as const;
        const sample = await written(conv, targets.portable, id, options);
        if (!sample) throw new Error(`${id} is refused`);
        const session = await runtime.open(sample.model, { optimize: "all" });
        const { y } = await session.run(sample.feeds);
        await session.release();
        expect(relativeError(numbersOf(y), sample.expected)).toBeLessThan(1e-5);
        const own = await createSession(sample.model, { fallback: "none", threads: 1 });
        const { y: ours } = await own.run(sample.tensors);
        await own.release();
        expect(relativeError(ours.data as Float32Array, sample.expected)).toBeLessThan(1e-5);
      }
    }
  },
);

const textOf = (model: Model) =>
  model.graph.nodes.map(
    ({ domain, opType, inputs, outputs }) =>
      `${outputs} = ${domain ? `${domain}::` : ""}${opType}(${inputs.join(", ")})`,
  );

test("the node keeps its name, inputs, outputs and attributes", async () => {
  const sample = await written(toyConvs[0], targets.portable, "int4-b16-asym");
  expect(sample && textOf(sample.model)).toEqual([
    expect.stringMatching(/^(\S+) = bitloom::Unpacked4Ragged\(w_codes, w_scales, w_zero_points\)$/),
    expect.stringMatching(/^\S+ = Constant\(\)$/),
    expect.stringMatching(/^conv\/Reshape_output = Reshape\(/),
    "y = Conv(x, conv/Reshape_output, b)",
  ]);
  const before = sample?.float.graph.nodes[0];
  const after = sample?.model.graph.nodes.find(({ name }) => name === "conv");
  expect([...(after?.attributes ?? [])]).toEqual([...(before?.attributes ?? [])]);
  expect(sample?.model.graph.initializers.has("w")).toBe(false);
});

test("K = 9 in blocks of 16 and more is padded as whole rows are", async () => {
  const conv = toyConvs.find(({ name }) => name === "depthwise, K = 9") as ToyConv;
  expect(columnsOf(conv)).toBe(9);
  const [layer] = findLayers(toyConvModel(conv).graph).layers;
  const bytes = (id: string) => weightBytes(targets.portable, layer, parseFormat(id), 18);
  // Per row: two groups of eight codes, one float16 scale.
  expect(bytes("int4-row")).toBe(12 * (2 * 4 + 2));
  expect(bytes("int4-b16")).toBe(bytes("int4-row"));
});

test("two nodes that share their kernels share the codes", async () => {
  const editor = editModel(toyConvModel(toyConvs[0]));
  const { attributes } = editor.model.graph.nodes[0];
  editor.addNodes([
    {
      name: "again",
      opType: "Conv",
      inputs: ["x", "w"],
      outputs: ["z"],
      attributes: Object.fromEntries(attributes),
    },
  ]);
  editor.addOutput({ name: "z", dtype: "float32", shape: undefined });
  const float = editor.commit();
  const { layers } = findLayers(float.graph);
  expect(layers.map(({ opType, uses }) => [opType, uses.length])).toEqual([["Conv", 2]]);
  const quantized = await quantizedLayer(layers[0], parseFormat("int5-row"));
  const model = rewriteModel(float, [quantized], { target: "portable" });
  expect(addedBytes(float, model)).toBe(
    weightBytes(targets.portable, layers[0], parseFormat("int5-row"), 18),
  );
  const session = await runtime.open(model);
  const x = normals(2 * 3 * 7 * 9, 7);
  const { y, z } = await session.run({ x: floatFeed(x, toyConvs[0].shape) });
  await session.release();
  const bias = normals(8, 4);
  const apart = numbersOf(y).map((v, i) => v - numbersOf(z)[i] - bias[Math.floor(i / 63) % 8]);
  expect(Math.max(...apart.map(Math.abs))).toBeLessThan(1e-5);
});

test("a float16 graph stays one, error < 2e-3", async () => {
  const conv = toyConvs[4];
  const float = toyConvModel(conv, { dtype: "float16" });
  const [layer] = findLayers(float.graph).layers;
  const quantized = await quantizedLayer(layer, parseFormat("int8-b16"));
  const x = normals(2 * 6 * 6 * 5, 7).map((value) => Math.round(value * 64) / 64);
  const { data } = quantized.meaning;
  const expected = referenceConv(x, conv.shape, data, conv.outputs, conv.window);
  const area = expected.length / conv.shape[0] / conv.outputs;
  const bias = normals(conv.outputs, 4);
  for (let i = 0; i < expected.length; i++)
    expected[i] += bias[Math.floor(i / area) % conv.outputs];
  for (const functionBody of ["folded", "packed"] as const) {
    const model = rewriteModel(float, [quantized], { target: "portable", functionBody });
    const session = await runtime.open(model);
    const { y } = await session.run({ x: floatFeed(x, conv.shape, "float16") });
    await session.release();
    expect(y.dtype).toBe("float16");
    expect(relativeError(numbersOf(y), expected)).toBeLessThan(2e-3);
  }
});
