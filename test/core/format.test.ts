import { describe, expect, test } from "vitest";
import { isBitloomError } from "../../src/core/errors.ts";
import {
  blocksPerRow,
  effectiveBlockSize,
  float16Format,
  float32Format,
  formatGrid,
  integerBits,
  integerFormat,
  parseFormat,
  withScaleType,
} from "../../src/core/format.ts";

describe("parseFormat", () => {
  test("reads back every id the library writes", () => {
    for (const scaleType of ["float16", "float32"] as const) {
      for (const format of formatGrid(integerBits, [0, 16, 32, 64, 128, 256], scaleType)) {
        expect(parseFormat(format.id)).toEqual(format);
      }
    }
    expect(parseFormat("float16")).toEqual(float16Format);
    expect(parseFormat("float32")).toEqual(float32Format);
  });

  test("ids are what the documentation shows", () => {
    expect(parseFormat("int4-b32-asym")).toEqual({
      id: "int4-b32-asym",
      kind: "integer",
      bits: 4,
      blockSize: 32,
      symmetric: false,
      scaleType: "float16",
    });
    expect(integerFormat({ bits: 8, blockSize: 0, symmetric: true }).id).toBe("int8-row");
    const wide = { bits: 3, blockSize: 64, symmetric: false, scaleType: "float32" } as const;
    expect(integerFormat(wide).id).toBe("int3-b64-asym-s32");
  });

  test.each([
    "",
    "int4",
    "int7-b32",
    "int1-b32",
    "int4-b8",
    "int4-b512",
    "int4-b48",
    "int4-b0",
    "int4-b032",
    "int04-b32",
    "int4-b32-sym",
    "int4-b32-s32-asym",
    " int4-b32",
    "float64",
  ])("refuses %j with the valid choices", (id) => {
    try {
      parseFormat(id);
      expect.unreachable();
    } catch (error) {
      expect(isBitloomError(error, "bad-option")).toBe(true);
      expect(String(error)).toContain("int4-b32-asym");
    }
  });
});

test("withScaleType changes the id with the type and leaves floats alone", () => {
  const format = parseFormat("int4-b32");
  expect(withScaleType(format, "float32").id).toBe("int4-b32-s32");
  expect(withScaleType(withScaleType(format, "float32"), "float16")).toEqual(format);
  expect(withScaleType(float16Format, "float16")).toBe(float16Format);
});

test("blocks per row: ragged last block, whole rows", () => {
  expect(blocksPerRow(parseFormat("int4-b32"), 33)).toBe(2);
  expect(blocksPerRow(parseFormat("int4-b32"), 32)).toBe(1);
  expect(blocksPerRow(parseFormat("int4-row"), 33)).toBe(1);
  expect(effectiveBlockSize(parseFormat("int4-row"), 33)).toBe(33);
});
