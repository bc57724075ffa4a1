/**
 * Which nodes the fusions make of low-bit products and lookups; what they compute is tested in operators/.
 */
import { describe, expect, test } from "vitest";
import { parseFormat } from "../../src/core/format.ts";
import { attribute } from "../../src/onnx/index.ts";
import { type TargetName, targets } from "../../src/rewrite/index.ts";
import { createSession } from "../../src/runtime/create-session.ts";
import { readLowBitNode } from "../../src/runtime/operators/matrix/low-bit-node.ts";
import type { NodeGraph } from "../../src/runtime/session/node-graph.ts";
import { usesModel } from "../rewrite/quantized-model.ts";
import { graph } from "../support/graph-builder.ts";
import { fusedNodes } from "./fused-nodes.ts";

const named = (nodes: NodeGraph, opType: string) =>
  nodes.nodes.filter((node) => node.opType === opType);

/** Each use of a weight, by what the fusions must make of it: 3 + 1 + 3 Gemm + 1 tied products, 3 + 1 lookups. */
const products = 8;
const lookups = 4;

describe("every use of a weight becomes a low-bit node", () => {
  const files: readonly (readonly [TargetName, string, number, number])[] = [
    ["portable", "int3-b32-asym", 18, 3],
    ["portable", "int4-b32", 18, 4],
    ["portable", "int5-row", 18, 5],
    ["portable", "int6-b32", 18, 6],
    ["portable", "int8-b64-asym", 9, 8],
    ["ort", "int4-b32-s32", 18, 4],
    ["ort", "int6-b32-s32", 18, 6],
    ["ort", "int6-b32-asym-s32", 18, 6],
    ["qdq", "int8-row", 13, 8],
    ["qdq", "int4-b32-asym", 21, 4],
    ["qdq", "int2-b32", 25, 2],
  ];
  test.each(files)("%s, %s, opset %i: width %i", async (target, format, opset, bits) => {
    const { quantized, accepted } = await usesModel({
      target: targets[target],
      formats: [parseFormat(format)],
      shape: { n: 16, k: 64 },
      opset,
    });
    expect(accepted.size).toBe(1);
    const nodes = await fusedNodes(quantized);
    const uses = nodes.nodes.flatMap((node) => readLowBitNode(node) ?? []);
    // The bare Gemm needs opset 11.
    expect(uses.filter(({ kind }) => kind === "LowBitMatMul")).toHaveLength(
      opset < 11 ? products - 1 : products,
    );
    expect(uses.filter(({ kind }) => kind === "LowBitGather")).toHaveLength(lookups);
    expect(new Set(uses.map(({ weight }) => weight.bits))).toEqual(new Set([bits]));
    for (const left of ["MatMul", "MatMulNBits", "GatherBlockQuantized", "DequantizeLinear"]) {
      expect(named(nodes, left)).toEqual([]);
    }
  });
});

test("a table and the head that it is tied to name the same tensors", async () => {
  for (const target of ["portable", "ort", "qdq"] as const) {
    const { quantized } = await usesModel({
      target: targets[target],
      formats: [parseFormat("int4-b32-s32")],
      shape: { n: 16, k: 64 },
      opset: 21,
    });
    const nodes = await fusedNodes(quantized);
    const tied = nodes.nodes.filter(({ name }) => name.includes("/tied"));
    const weights = tied.flatMap((node) => readLowBitNode(node)?.weight ?? []);
    expect(weights).toHaveLength(2);
    expect(weights[0]).toEqual(weights[1]);
  }
});

test("products with one activation quantize it once for each type that their widths ask for", async () => {
  const builder = graph().input("x", "float32", [2, 32]);
  for (const [name, bits] of [
    ["q", 4],
    ["k", 2],
    ["v", 8],
    ["g", 8],
  ] as const) {
    builder
      .initializer(`${name}/codes`, [8, 1, 4 * bits], new Uint8Array(32 * bits))
      .initializer(`${name}/scales`, [8, 1], new Float32Array(8).fill(1))
      .node(
        "com.microsoft::MatMulNBits",
        ["x", `${name}/codes`, `${name}/scales`],
        [name],
        {
          K: attribute.int(32),
          N: attribute.int(8),
          bits: attribute.int(bits),
          block_size: attribute.int(32),
        },
        name,
      )
      .output(name, "float32");
  }
  const model = builder.model();
  const quantizedOf = (nodes: NodeGraph) =>
    ["q", "k", "v", "g"].map((name) => nodes.nodes.find((node) => node.name === name)?.inputs[1]);
  for (const int8 of [[], [2, 3, 4, 5, 6, 8]]) {
    const same = await fusedNodes(model, int8);
    expect(named(same, "QuantizeActivation")).toHaveLength(1);
    expect(new Set(quantizedOf(same)).size).toBe(1);
  }
  const apart = await fusedNodes(model, [2, 3, 4, 5, 6]);
  expect(named(apart, "QuantizeActivation")).toHaveLength(2);
  const [q, k, v, g] = quantizedOf(apart);
  expect([q, v]).toEqual([k, g]);
  expect(q).not.toBe(v);
});

test("halves that somebody else reads stay apart", async () => {
  const { quantized } = await usesModel({
    target: targets.ort,
    formats: [parseFormat("int6-b32-s32")],
    shape: { n: 16, k: 64 },
    opset: 18,
  });
  const half = quantized.graph.nodes.find(({ opType }) => opType === "MatMulNBits");
  const editor = (await import("../../src/onnx/index.ts")).editModel(quantized);
  editor.addOutput({ name: half?.outputs[0] ?? "", dtype: "float32", shape: undefined });
  const nodes = await fusedNodes(editor.commit());
  const bits = nodes.nodes.flatMap((node) => readLowBitNode(node)?.weight.bits ?? []);
  expect(bits.filter((each) => each === 4)).toHaveLength(1);
  expect(bits.filter((each) => each === 2)).toHaveLength(1);
});

describe("a bias goes into the product", () => {
  const biased = (bias: readonly number[], weights: "constant" | "fed") => {
    const builder = graph().input("x", "float32", [undefined, 8]);
    const data = Float32Array.from({ length: 32 }, (_, i) => Math.sin(i));
    if (weights === "fed") builder.input("w", "float32", [8, 4]);
    else builder.initializer("w", [8, 4], data);
    const length = bias.reduce((count, size) => count * size, 1);
    return builder
      .initializer(
        "b",
        bias,
        Float32Array.from({ length }, (_, i) => i + 1),
      )
      .node("MatMul", ["x", "w"], ["p"])
      .node("Add", ["b", "p"], ["y"])
      .output("y", "float32")
      .model();
  };

  test("of a vector and constant weights", async () => {
    const nodes = await fusedNodes(biased([4], "constant"));
    expect(nodes.nodes.map(({ opType }) => opType)).toEqual(["BiasedMatMul"]);
    const x = Float32Array.from({ length: 24 }, (_, i) => Math.cos(i));
    const session = await createSession(biased([4], "constant"), { threads: 1 });
    const { y } = await session.run({ x: { type: "float32", dims: [3, 8], data: x } });
    const expected = Float32Array.from({ length: 12 }, (_, at) => {
      const [row, column] = [Math.floor(at / 4), at % 4];
      let sum = column + 1;
      for (let k = 0; k < 8; k++) sum += x[row * 8 + k] * Math.sin(k * 4 + column);
      return sum;
    });
    expect(y.dims).toEqual([3, 4]);
    for (const [at, value] of expected.entries()) {
      expect((y.data as Float32Array)[at]).toBeCloseTo(value, 5);
    }
    await session.release();
  });

  test("not of other shapes, nor of weights that are fed", async () => {
    for (const model of [biased([1, 4], "constant"), biased([1], "constant"), biased([4], "fed")]) {
      const nodes = await fusedNodes(model);
      expect(named(nodes, "Add")).toHaveLength(1);
    }
  });

  test("of low-bit products", async () => {
    const attributes = {
      K: attribute.int(32),
      N: attribute.int(8),
      bits: attribute.int(4),
      block_size: attribute.int(32),
    };
    const model = graph()
      .input("x", "float32", [2, 32])
      .initializer("codes", [8, 1, 16], new Uint8Array(128).fill(0x99))
      .initializer("scales", [8, 1], new Float32Array(8).fill(1))
      .initializer("b", [8], Float32Array.of(1, 2, 3, 4, 5, 6, 7, 8))
      .node("com.microsoft::MatMulNBits", ["x", "codes", "scales"], ["p"], attributes)
      .node("Add", ["p", "b"], ["y"])
      .output("y", "float32")
      .model();
    expect((await fusedNodes(model)).nodes.map(({ opType }) => opType)).toEqual(["LowBitMatMul"]);
    const session = await createSession(model, { threads: 1 });
    const x = new Float32Array(64).fill(0.5);
    const { y } = await session.run({ x: { type: "float32", dims: [2, 32], data: x } });
    const row = [17, 18, 19, 20, 21, 22, 23, 24];
    for (const [at, value] of [...row, ...row].entries()) {
      expect((y.data as Float32Array)[at]).toBeCloseTo(value, 1);
    }
    await session.release();
  });
});
