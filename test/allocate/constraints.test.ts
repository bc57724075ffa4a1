import { describe, expect, test } from "vitest";
import {
  applyConstraints,
  formatsFor,
  matchesPattern,
  parsePin,
  pinnedFormats,
} from "../../src/allocate/constraints.ts";
import { layerOf } from "../support/reference-allocation.ts";

const rows = [
  ["int2-b32", 20, 3],
  ["int4-b32", 40, 2],
  ["int8-b32", 80, 1],
  ["float16", 160, 0],
] as const;
const layers = [
  layerOf("/model/0/q/MatMul", rows),
  layerOf("/model/0/k/MatMul", rows),
  layerOf("head", rows),
];

const ids = (result: ReturnType<typeof applyConstraints>) =>
  result.map(({ alternatives }) => alternatives.map(({ format }) => format.id).join(" "));

describe("patterns", () => {
  test.each([
    ["head", "head", true],
    ["head", "lm_head", false],
    ["*head", "lm_head", true],
    ["*", "/model/0/q/MatMul", true],
    ["/model/*/MatMul", "/model/0/q/MatMul", true],
    ["/model/?/q/MatMul", "/model/0/q/MatMul", true],
    ["/model/?/q/MatMul", "/model/10/q/MatMul", false],
    ["a.b", "axb", false],
    ["a(b)[c]", "a(b)[c]", true],
    ["/q|k/", "/model/0/k/MatMul", true],
    ["/^head$/", "lm_head", false],
    ["/odd/", "/odd/", true],
  ])("%s against %s is %s", (pattern, layer, matches) => {
    expect(matchesPattern(pattern, layer)).toBe(matches);
  });
});

describe("parsePin", () => {
  test("splits at the last equals sign", () => {
    expect(parsePin("a=b=int4-b32")).toMatchObject({ pattern: "a=b", format: { id: "int4-b32" } });
    expect(parsePin(" *q* = float16 ")).toMatchObject({
      pattern: "*q*",
      format: { id: "float16" },
    });
  });

  test.each([
    ["head", /Cannot read the pin "head": expected pattern=format/],
    ["=int4-b32", /expected pattern=format/],
    ["head=int7-b32", /Unknown format "int7-b32"/],
    ["/(/=int4-b32", /no valid regular expression/],
  ])("refuses %s", (text, message) => {
    expect(() => parsePin(text)).toThrow(message);
    expect(() => parsePin(text)).toThrow(expect.objectContaining({ code: "bad-option" }));
  });
});

test("pinnedFormats lists each format once; formatsFor lets the last pin win", () => {
  const pins = ["*=int4-b32", "head=int8-b32", "*q*=int4-b32"].map(parsePin);
  expect(pinnedFormats(pins).map(({ id }) => id)).toEqual(["int4-b32", "int8-b32"]);
  expect(formatsFor("head", pins).map(({ id }) => id)).toEqual(["int8-b32"]);
  expect(formatsFor("head", pins.slice(2))).toEqual([]);
});

describe("applyConstraints", () => {
  test("changes nothing without constraints", () => {
    expect(applyConstraints(layers, {})).toEqual(layers);
  });

  test("keeps the pinned format alone, whatever the widths; the last pin wins", () => {
    const pins = ["*=int4-b32", "head=int8-b32"].map(parsePin);
    expect(ids(applyConstraints(layers, { pins }))).toEqual(["int4-b32", "int4-b32", "int8-b32"]);
    const result = applyConstraints(layers, { pins: pins.slice(1), maxBits: 4 });
    expect(ids(result)).toEqual([
      "int2-b32 int4-b32 float16",
      "int2-b32 int4-b32 float16",
      "int8-b32",
    ]);
  });

  test("filters integer widths and leaves floats", () => {
    expect(ids(applyConstraints(layers, { minBits: 3, maxBits: 4 }))[0]).toBe("int4-b32 float16");
  });

  test("a pin accepts the scale type that the target offers", () => {
    const offered = [layerOf("head", [["int4-b32-s32", 1, 1]])];
    expect(ids(applyConstraints(offered, { pins: [parsePin("head=int4-b32")] }))).toEqual([
      "int4-b32-s32",
    ]);
  });

  test.each([
    [
      { pins: [parsePin("heda=int4-b32")] },
      /pin "heda=int4-b32" matches none of the 3 layers; close names: "head", /,
    ],
    [
      { pins: [parsePin("head=int3-b32")] },
      /layer "head" offers int2-b32, int4-b32, int8-b32, float16\. Pin it/,
    ],
    [{ minBits: 0 }, /--min-bits must be a number of bits above zero, got 0/],
    [{ maxBits: Number.NaN }, /--max-bits must be a number of bits above zero, got NaN/],
    [{ minBits: 5, maxBits: 4 }, /--min-bits 5 is above --max-bits 4/],
  ])("refuses %j", (constraints, message) => {
    expect(() => applyConstraints(layers, constraints)).toThrow(message);
    expect(() => applyConstraints(layers, constraints)).toThrow(
      expect.objectContaining({ code: "bad-option" }),
    );
  });

  test("names the layer that would be left without a format and what to change", () => {
    const integers = [layerOf("head", rows.slice(0, 3))];
    expect(() => applyConstraints(integers, { minBits: 5, maxBits: 6 })).toThrow(
      /No format is left for layer "head" at 5 to 6 bits: it offers int2-b32, int4-b32, int8-b32\. Lower --min-bits/,
    );
    expect(() => applyConstraints(integers, { maxBits: 1 })).toThrow(/Raise --max-bits/);
  });
});
