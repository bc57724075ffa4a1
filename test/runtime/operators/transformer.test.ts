/**
 * Norms, activations, rotary embeddings and attention against ONNX Runtime, by kernels and in JavaScript.
 */
import { afterAll, describe, test } from "vitest";
import { attribute } from "../../../src/onnx/index.ts";
import { createRuntime } from "../../../src/runtime/index.ts";
import { type Case, constant, expectSame, type Given, given, random } from "./tensor-compare.ts";

const runtime = createRuntime();
afterAll(() => runtime.close());

const { int, float } = attribute;
const ms = (name: string) => `com.microsoft::${name}`;
const f32 = (seed: number, ...shape: number[]) => random("float32", shape, seed, 1);
const f16 = (seed: number, ...shape: number[]) => random("float16", shape, seed, 1);
const int32 = (shape: number[], ...numbers: number[]) => given("int32", shape, numbers);
const int64 = (shape: number[], ...numbers: number[]) => given("int64", shape, numbers);
/** Sums of products are rounded in another order. */
const bound = 1e-5;

const run = (cases: Readonly<Record<string, Case>>) =>
  test.each(Object.entries(cases))("%s: |error| ≤ 1e-5·(1 + |y|)", (_, one) =>
    expectSame(runtime, one),
  );

describe("norms", () => {
  const norm = (operator: string, opset: number, inputs: Case["inputs"], outputs = 1, axis = -1) =>
    ({
      operator,
      opset,
      inputs,
      outputs,
      bound,
      attributes: { axis: int(axis), epsilon: float(1e-3) },
    }) satisfies Case;
  const skip = (operator: string, inputs: Case["inputs"]): Case => ({
    operator: ms(operator),
    inputs,
    bound,
    attributes: { epsilon: float(1e-3) },
  });
  const rows = f32(1, 2, 3, 10);
  const row = (seed: number) => f32(seed, 10);
  run({
    LayerNormalization: norm("LayerNormalization", 17, [rows, row(2), row(3)]),
    "LayerNormalization without bias, statistics": norm(
      "LayerNormalization",
      17,
      [rows, row(2)],
      3,
    ),
    "LayerNormalization over two axes": norm(
      "LayerNormalization",
      17,
      [rows, f32(2, 3, 10), f32(3, 3, 10)],
      1,
      1,
    ),
    "LayerNormalization of float16": {
      ...norm("LayerNormalization", 17, [f16(1, 2, 16), f16(2, 16), f16(3, 16)]),
      bound: 4e-3,
    },
    "LayerNormalization of nothing": norm("LayerNormalization", 17, [
      f32(1, 2, 0, 10),
      row(2),
      row(3),
    ]),
    SimplifiedLayerNormalization: norm("SimplifiedLayerNormalization", 17, [rows, row(2)]),
    RMSNormalization: norm("RMSNormalization", 23, [rows, row(2)]),
    SkipLayerNormalization: skip("SkipLayerNormalization", [
      rows,
      f32(4, 2, 3, 10),
      row(2),
      row(3),
      row(5),
    ]),
    "SkipLayerNormalization, one skip for all samples": skip("SkipLayerNormalization", [
      rows,
      f32(4, 1, 3, 10),
      row(2),
      row(3),
    ]),
    SkipSimplifiedLayerNormalization: skip("SkipSimplifiedLayerNormalization", [
      rows,
      f32(4, 2, 3, 10),
      row(2),
      row(5),
    ]),
    "SkipSimplifiedLayerNormalization of float16": {
      ...skip("SkipSimplifiedLayerNormalization", [f16(1, 1, 2, 16), f16(2, 1, 2, 16), f16(3, 16)]),
      bound: 4e-3,
    },
  });
  const weight = (seed: number, ...shape: number[]): Given => ({
    ...f32(seed, ...shape),
    isConstant: true,
  });
  const tables = [weight(3, 7, 10), weight(4, 5, 10), weight(5, 2, 10)];
  const ids = int32([2, 3], 6, 0, 3, 1, 1, 5);
  const segments = int32([2, 3], 0, 1, 1, 0, 0, 1);
  const mask = int32([2, 3], 1, 1, 1, 1, 0, 0);
  const embed = (inputs: Case["inputs"], outputs: number): Case => ({
    operator: ms("EmbedLayerNormalization"),
    inputs,
    outputs,
    bound,
    attributes: { epsilon: float(1e-3) },
  });
  run({
    "EmbedLayerNormalization with mask and sum": embed(
      [ids, segments, ...tables, weight(1, 10), weight(2, 10), mask],
      3,
    ),
    "EmbedLayerNormalization without segments": embed(
      [ids, undefined, tables[0], tables[1], undefined, weight(1, 10), weight(2, 10)],
      2,
    ),
    "EmbedLayerNormalization with positions": embed(
      [ids, segments, ...tables, weight(1, 10), weight(2, 10), undefined, int32([1, 3], 4, 0, 2)],
      2,
    ),
  });
});

describe("activations", () => {
  const x = random("float32", [2, 3, 7], 1, 3);
  const one = (
    name: string,
    inputs: Case["inputs"],
    attributes: Case["attributes"] = {},
  ): Case => ({
    operator: ms(name),
    inputs,
    attributes,
    bound,
  });
  run({
    Gelu: one("Gelu", [x]),
    BiasGelu: one("BiasGelu", [x, f32(2, 7)]),
    FastGelu: one("FastGelu", [x]),
    "FastGelu with bias": one("FastGelu", [x, f32(2, 7)]),
    QuickGelu: one("QuickGelu", [x], { alpha: float(1.702) }),
    "QuickGelu of alpha 1": one("QuickGelu", [x], { alpha: float(1) }),
  });
});

describe("rotary embeddings", () => {
  const cache = (seed: number, half: number) => random("float32", [20, half], seed, 1);
  const tables = (half: number) => [cache(8, half), cache(9, half)];
  const contrib = (inputs: Case["inputs"], attributes: Case["attributes"] = {}): Case => ({
    operator: ms("RotaryEmbedding"),
    inputs,
    attributes,
    bound,
  });
  const each = int64([2, 3], 0, 5, 19, 3, 2, 1);
  run({
    "contrib, three axes": contrib([f32(1, 2, 3, 24), each, ...tables(4)]),
    "contrib, four axes, one position, interleaved": contrib(
      [f32(1, 2, 4, 3, 8), int64([1], 4), ...tables(4)],
      {
        interleaved: int(1),
      },
    ),
    "contrib, part of each head": contrib([f32(1, 2, 3, 24), each, ...tables(2)], {
      num_heads: int(2),
      rotary_embedding_dim: int(4),
    }),
    "opset 23, four axes, positions": {
      operator: "RotaryEmbedding",
      opset: 23,
      inputs: [f32(1, 2, 4, 3, 8), ...tables(4), each],
      bound,
    },
    "opset 23, three axes, tables per token": {
      operator: "RotaryEmbedding",
      opset: 23,
      inputs: [f32(1, 2, 3, 24), f32(2, 2, 3, 4), f32(3, 2, 3, 4)],
      attributes: { num_heads: int(3), interleaved: int(1) },
      bound,
    },
  });
});

describe("MultiHeadAttention", () => {
  const one = (inputs: Case["inputs"], attributes: Case["attributes"] = {}, outputs = 1): Case => ({
    operator: ms("MultiHeadAttention"),
    inputs,
    outputs,
    bound,
    attributes: { num_heads: int(2), ...attributes },
  });
  const [q, k, v] = [f32(1, 2, 3, 16), f32(2, 2, 5, 16), f32(3, 2, 5, 16)];
  const none = undefined;
  run({
    "queries of three, keys of five": one([q, k, v]),
    bias: one([q, k, v, f32(4, 48)]),
    "wide values": one([q, k, f32(3, 2, 5, 24), f32(4, 56)]),
    "padding by length": one([q, k, v, none, int32([2], 5, 2)]),
    "padding by token": one([q, k, v, none, int32([2, 5], 1, 1, 1, 0, 1, 1, 1, 0, 0, 0)]),
    "additive mask": one([q, k, v, none, none, f32(5, 1, 1, 3, 5)]),
    "additive mask per head and padding": one(
      [q, k, v, none, int32([2, 5], 1, 1, 1, 0, 1, 1, 1, 0, 0, 0), f32(5, 2, 2, 3, 5)],
      { scale: float(0.7) },
    ),
    caches: one(
      [
        q,
        f32(2, 2, 3, 16),
        f32(3, 2, 3, 16),
        none,
        none,
        none,
        f32(6, 2, 2, 4, 8),
        f32(7, 2, 2, 4, 8),
      ],
      {},
      3,
    ),
    "empty caches, causal": one(
      [
        q,
        f32(2, 2, 3, 16),
        f32(3, 2, 3, 16),
        none,
        none,
        none,
        f32(6, 2, 2, 0, 8),
        f32(7, 2, 2, 0, 8),
      ],
      { unidirectional: int(1) },
      3,
    ),
    "keys in heads": one([q, f32(2, 2, 2, 5, 8), f32(3, 2, 2, 5, 8)]),
  });
});

describe("Attention of the contrib domain", () => {
  const one = (inputs: Case["inputs"], attributes: Case["attributes"] = {}, outputs = 1): Case => ({
    operator: ms("Attention"),
    inputs,
    outputs,
    bound,
    attributes: { num_heads: int(2), ...attributes },
  });
  const x = f32(1, 2, 3, 12);
  const weights = { ...random("float32", [12, 48], 2, 0.4), isConstant: true };
  const bias = { ...random("float32", [48], 3, 0.4), isConstant: true };
  run({
    "no mask": one([x, weights, bias]),
    lengths: one([x, weights, bias, int32([2], 3, 1)]),
    "ends and starts": one([x, weights, bias, int32([4], 3, 2, 1, 0)]),
    "mask of tokens": one([x, weights, bias, int32([2, 3], 1, 1, 0, 1, 0, 0)]),
    "mask of pairs": one([
      x,
      weights,
      bias,
      int32([2, 3, 3], 1, 0, 0, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1, 0, 1, 0, 1, 1),
    ]),
    causal: one([x, weights, bias], { unidirectional: int(1) }),
    cache: one([x, weights, bias, undefined, f32(5, 2, 2, 2, 4, 8)], { unidirectional: int(1) }, 2),
    "additive mask": one([x, weights, bias, undefined, undefined, f32(5, 1, 2, 3, 3)]),
  });
});

describe("Attention of opset 23", () => {
  const one = (inputs: Case["inputs"], attributes: Case["attributes"] = {}, outputs = 1): Case => ({
    operator: "Attention",
    opset: 23,
    inputs,
    outputs,
    attributes,
    bound,
  });
  const heads = (seed: number, count: number, rows: number) => f32(seed, 2, count, rows, 8);
  const flat = { q_num_heads: int(4), kv_num_heads: int(2) };
  const sees = given("bool", [3, 5], [1, 0, 0, 1, 0, 1, 1, 0, 0, 0, 0, 0, 1, 0, 1]);
  run({
    "four axes, grouped": one([heads(1, 4, 3), heads(2, 2, 5), heads(3, 2, 5)]),
    "three axes, grouped, soft cap": one([f32(1, 2, 3, 32), f32(2, 2, 5, 16), f32(3, 2, 5, 16)], {
      ...flat,
      softcap: float(1.5),
    }),
    "boolean mask": one([heads(1, 4, 3), heads(2, 2, 5), heads(3, 2, 5), sees]),
    "additive mask": one([heads(1, 4, 3), heads(2, 2, 5), heads(3, 2, 5), f32(4, 2, 1, 3, 5)]),
    "causal with caches": one(
      [heads(1, 4, 3), heads(2, 2, 3), heads(3, 2, 3), undefined, heads(4, 2, 2), heads(5, 2, 2)],
      { is_causal: int(1) },
      3,
    ),
    causal: one([heads(1, 2, 3), heads(2, 2, 3), heads(3, 2, 3)], {
      is_causal: int(1),
      scale: float(0.2),
    }),
    float16: {
      ...one([f16(1, 1, 2, 3, 8), f16(2, 1, 2, 3, 8), f16(3, 1, 2, 3, 8)]),
      bound: 4e-3,
    },
  });
});

describe("GroupQueryAttention", () => {
  const one = (inputs: Case["inputs"], attributes: Case["attributes"] = {}): Case => ({
    operator: ms("GroupQueryAttention"),
    inputs,
    outputs: 3,
    bound,
    attributes: { num_heads: int(4), kv_num_heads: int(2), ...attributes },
  });
  const total = (count: number) => constant("int32", [1], [count]);
  const past = (seed: number, batch: number, rows: number) => f32(seed, batch, 2, rows, 16);
  const tables = [random("float32", [16, 8], 8, 1), random("float32", [16, 8], 9, 1)];
  const [k, v] = [
    (b: number, s: number) => f32(2, b, s, 32),
    (b: number, s: number) => f32(3, b, s, 32),
  ];
  const none = undefined;
  run({
    "a prompt": one([f32(1, 2, 5, 64), k(2, 5), v(2, 5), none, none, int32([2], 4, 4), total(5)]),
    "a prompt, empty caches": one([
      f32(1, 1, 5, 64),
      k(1, 5),
      v(1, 5),
      past(4, 1, 0),
      past(5, 1, 0),
      int32([1], 4),
      total(5),
    ]),
    "packed, rotary": one(
      [
        f32(1, 1, 5, 128),
        none,
        none,
        past(4, 1, 0),
        past(5, 1, 0),
        int32([1], 4),
        total(5),
        ...tables,
      ],
      { do_rotary: int(1) },
    ),
    "one token after six, rotary": one(
      [
        f32(1, 2, 1, 64),
        k(2, 1),
        v(2, 1),
        past(4, 2, 6),
        past(5, 2, 6),
        int32([2], 6, 6),
        total(7),
        ...tables,
      ],
      { do_rotary: int(1), softcap: float(2), scale: float(0.5) },
    ),
    "three tokens after two, interleaved": one(
      [
        f32(1, 1, 3, 64),
        k(1, 3),
        v(1, 3),
        past(4, 1, 2),
        past(5, 1, 2),
        int32([1], 4),
        total(5),
        ...tables,
      ],
      { do_rotary: int(1), rotary_interleaved: int(1) },
    ),
    "window of two": one(
      [f32(1, 1, 5, 64), k(1, 5), v(1, 5), past(4, 1, 0), past(5, 1, 0), int32([1], 4), total(5)],
      {
        local_window_size: int(2),
      },
    ),
    "one token, window of three": one(
      [f32(1, 1, 1, 64), k(1, 1), v(1, 1), past(4, 1, 6), past(5, 1, 6), int32([1], 6), total(7)],
      { local_window_size: int(3) },
    ),
    float16: {
      ...one([
        f16(1, 1, 3, 64),
        f16(2, 1, 3, 32),
        f16(3, 1, 3, 32),
        none,
        none,
        int32([1], 2),
        total(3),
      ]),
      bound: 4e-3,
    },
    "samples of seven and of four tokens, rotary": {
      ...one(
        [
          f32(1, 2, 1, 64),
          k(2, 1),
          v(2, 1),
          past(4, 2, 6),
          past(5, 2, 6),
          int32([2], 6, 3),
          total(7),
          ...tables,
        ],
        { do_rotary: int(1) },
      ),
      outputs: 3,
    },
  });
});
