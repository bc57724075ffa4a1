/** Convolutions as layers: W [N, K] as it lies in memory, and the window that says what each row is multiplied with. */
import { describe, expect, test } from "vitest";
import { toFloat16Bits } from "../../src/core/tensor.ts";
import { findLayers } from "../../src/layers/index.ts";
import { attribute } from "../../src/onnx/index.ts";
import { graph } from "../support/graph-builder.ts";
import { columnsOf, toyConvModel, toyConvs } from "../support/toy-convs.ts";
import { normals } from "../support/toy-models.ts";
import { cast, found, ints } from "./samples.ts";

describe("the window", () => {
  test.each(toyConvs)("$name", async (conv) => {
    const { layers, skipped } = findLayers(toyConvModel(conv).graph);
    expect(skipped).toEqual([]);
    const { groups, kernel, strides, dilations, pads } = conv.window;
    const axes = kernel.length;
    const explicit = { before: pads.slice(0, axes), after: pads.slice(axes) };
    const padding =
      conv.autoPad === "SAME_UPPER"
        ? "same-upper"
        : conv.autoPad === "SAME_LOWER"
          ? "same-lower"
          : explicit;
    const [layer] = layers;
    expect(layer).toMatchObject({
      id: "conv",
      opType: "Conv",
      weight: "w",
      n: conv.outputs,
      k: columnsOf(conv),
      groups,
      uses: [
        {
          node: "conv",
          opType: "Conv",
          activation: "x",
          output: "y",
          dtype: "float32",
          window: { groups, kernel, strides, dilations, padding },
        },
      ],
    });
    const weight = await layer.readWeight();
    expect(weight).toEqual({
      rows: conv.outputs,
      cols: columnsOf(conv),
      data: normals(conv.outputs * columnsOf(conv), 3, 0.5),
    });
    const shape = [conv.outputs, conv.shape[1] / groups, ...kernel];
    expect(layer.toStored(weight)).toEqual({ dtype: "float32", shape, data: weight.data });
  });

  test("attributes that are left out", () => {
    const { layers } = found(
      graph()
        .input("x", "float32", ["batch", 2, "length"])
        .initializer("w", [4, 2, 3], new Float32Array(24))
        .node("Conv", ["x", "w"], ["y"], {}, "l"),
    );
    expect(layers[0].uses[0].window).toEqual({
      groups: 1,
      kernel: [3],
      strides: [1],
      dilations: [1],
      padding: { before: [0], after: [0] },
    });
  });
});

test("kernels behind Identity and Cast, and two nodes that share them", async () => {
  const bits = Uint16Array.from(normals(24, 1), toFloat16Bits);
  const { layers } = found(
    graph()
      .input("x", "float32", ["batch", 2, "length"])
      .initializer("w", [4, 2, 3], bits, "float16")
      .node("Identity", ["w"], ["same"], {}, "identity")
      .node("Cast", ["same"], ["wide"], cast(1), "widen")
      .node("Conv", ["x", "wide"], ["a"], {}, "first")
      .node("Conv", ["x", "wide"], ["y"], { pads: attribute.ints([1, 1]) }, "second"),
  );
  expect(layers).toHaveLength(1);
  expect(layers[0]).toMatchObject({ id: "first", dtype: "float16", path: ["widen", "identity"] });
  expect(layers[0].uses.map(({ dtype }) => dtype)).toEqual(["float32", "float32"]);
  expect(layers[0].toStored(await layers[0].readWeight())).toMatchObject({ data: bits });
});

test("nodes that share kernels must agree on their groups", () => {
  const { layers, skipped } = found(
    graph()
      .input("x", "float32", ["batch", 2, "length"])
      .input("x2", "float32", ["batch", 4, "length"])
      .initializer("w", [4, 2, 3], new Float32Array(24))
      .node("Conv", ["x", "w"], ["a"], {}, "first")
      .node("Conv", ["x2", "w"], ["y"], ints("group", 2), "second"),
  );
  expect(layers).toEqual([]);
  expect(skipped.map(({ name, reason }) => `${name}: ${reason}`)).toEqual([
    'first: the nodes that share weight "w" disagree on its groups',
    'second: the nodes that share weight "w" disagree on its groups',
  ]);
});

test("kernels that another node reads too stay in float", () => {
  const { layers, skipped } = found(
    graph()
      .input("x", "float32", ["batch", 2, "length"])
      .initializer("w", [4, 2, 3], new Float32Array(24))
      .node("Conv", ["x", "w"], ["a"], {}, "l")
      .node("ReduceMax", ["w"], ["y"], {}, "reader"),
  );
  expect(layers).toEqual([]);
  expect(skipped[0].reason).toContain('is also read by "reader" (ReduceMax)');
});
