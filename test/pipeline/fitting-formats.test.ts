import { describe, expect, test } from "vitest";
import { integerFormat, parseFormat } from "../../src/core/format.ts";
import type { Layer } from "../../src/core/layer.ts";
import { fittingFormats } from "../../src/pipeline/subject.ts";

const layerOf = (opType: string, k: number) => ({ k, uses: [{ opType }] }) as unknown as Layer;
const ids = (layer: Layer, formats: readonly string[], isPinned = false) =>
  fittingFormats(formats.map(parseFormat), layer, isPinned).map(({ id }) => id);

describe("matrices", () => {
  test("blocks twice as long as a row only add padding", () => {
    const formats = ["int4-b32", "int4-b64-asym", "int4-b128", "float16"];
    expect(ids(layerOf("MatMul", 40), formats)).toEqual(["int4-b32", "int4-b64-asym", "float16"]);
    expect(ids(layerOf("Gather", 9), ["int4-b16", "int4-b32"])).toEqual(["int4-b16"]);
  });

  test("unless the layer is pinned to them", () => {
    expect(ids(layerOf("MatMul", 9), ["int4-b128"], true)).toEqual(["int4-b128"]);
  });
});

describe("convolutions", () => {
  test("a block not shorter than the row is the whole row, once", () => {
    const formats = ["int4-b32", "int4-b64", "int4-b64-asym", "int8-row", "float32"];
    for (const isPinned of [false, true]) {
      expect(ids(layerOf("Conv", 9), formats, isPinned)).toEqual([
        "int4-row",
        "int4-row-asym",
        "int8-row",
        "float32",
      ]);
    }
    expect(ids(layerOf("Conv", 32), ["int4-b32"])).toEqual(["int4-row"]);
    expect(ids(layerOf("Conv", 33), ["int4-b32", "int4-b16"])).toEqual(["int4-b32", "int4-b16"]);
  });

  test("the scale type stays", () => {
    const wide = integerFormat({ bits: 5, blockSize: 64, symmetric: true, scaleType: "float32" });
    expect(fittingFormats([wide], layerOf("Conv", 25), false)).toEqual([
      parseFormat("int5-row-s32"),
    ]);
  });
});
