import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  convertFeed,
  feedFrom,
  type NumericFeed,
  validateFeeds,
} from "../../../src/calibrate/data/feeds.ts";
import { isBitloomError } from "../../../src/core/errors.ts";
import { graphOf } from "./graph.ts";

const graph = graphOf({
  inputs: {
    image: ["float32", ["batch", 3, undefined]],
    size: ["int64", [1]],
    w: ["float32", [2]],
  },
  initializers: { w: [2] },
});
const image = feedFrom("image", "float32", [2, 3, 1], [1, 2, 3, 4, 5, 6]);
const size = feedFrom("size", "int64", [1], [7]);

describe("validateFeeds", () => {
  test("accepts symbolic dimensions of any size and a missing input that has an initializer", () => {
    expect(() => validateFeeds({ image, size }, graph)).not.toThrow();
  });

  const wrong: [string, Record<string, NumericFeed>, string, RegExp][] = [
    ["an unknown name", { image, size, picture: image }, "picture", /unknown name/],
    ["a missing input", { image }, "size", /expected int64 \[1\], got nothing/],
    ["an element type", { image, size: feedFrom("size", "int32", [1], [7]) }, "size", /got int32/],
    [
      "a rank",
      { image: feedFrom("image", "float32", [3, 1], [1, 2, 3]), size },
      "image",
      /expected float32 \[batch, 3, \?\], got float32 \[3, 1\]/,
    ],
    [
      "a fixed dimension",
      { image: feedFrom("image", "float32", [1, 1, 1], [1]), size },
      "image",
      /got float32 \[1, 1, 1\]/,
    ],
    [
      "a count of elements",
      { image: { ...image, data: new Float32Array(5) }, size },
      "image",
      /expected 6 elements/,
    ],
    ["a name of Object's own", { image, size, toString: image }, "toString", /unknown name/],
  ];
  test.each(wrong)("names the input for %s", (_, feeds, input, message) => {
    const error = caught(() => validateFeeds(feeds, graph, "line 3"));
    expect(error).toMatchObject({ code: "bad-data", detail: { input } });
    expect(String(error)).toMatch(message);
    expect(String(error)).toContain(`Input "${input}" in line 3`);
    expect(String(error)).toContain('"image" float32 [batch, 3, ?], "size" int64 [1]');
  });
});

describe("feedFrom", () => {
  test("stores each element type in its own array", () => {
    expect(feedFrom("x", "int64", [2], [1, -2]).data).toEqual(BigInt64Array.of(1n, -2n));
    expect(feedFrom("x", "bool", [2], [true, 0]).data).toEqual(Uint8Array.of(1, 0));
    expect(feedFrom("x", "float16", [2], [1, -2]).data).toEqual(Uint16Array.of(0x3c00, 0xc000));
    expect(feedFrom("x", "float32", [], [0.1]).data).toEqual(Float32Array.of(0.1));
  });

  test.each([
    ["int8", 128],
    ["uint8", -1],
    ["bool", 2],
    ["int32", 1.5],
    ["int64", 2 ** 53],
    ["uint64", -1n],
    ["int64", Number.NaN],
  ] as const)("refuses %s %s", (dtype, value) => {
    expect(() => feedFrom("x", dtype, [1], [value])).toThrow(/Input "x": expected .* elements/);
  });

  test("refuses a count that the shape does not have", () => {
    expect(() => feedFrom("x", "float32", [2, 2], [1])).toThrow("expected 4 elements");
  });
});

describe("convertFeed", () => {
  test("integers survive int32 → int64 → int32 unchanged", () => {
    fc.assert(
      fc.property(fc.array(fc.integer()), (values) => {
        const narrow = feedFrom("x", "int32", [values.length], values);
        const wide = convertFeed("x", narrow, "int64");
        expect(Array.from(wide.data as BigInt64Array, Number)).toEqual(values);
        expect(convertFeed("x", wide, "int32")).toEqual(narrow);
      }),
    );
  });

  test("float16 widens exactly and float64 rounds to float32", () => {
    const half = feedFrom("x", "float16", [3], [0.5, -65504, 2 ** -24]);
    expect(convertFeed("x", half, "float32").data).toEqual(Float32Array.of(0.5, -65504, 2 ** -24));
    const double = feedFrom("x", "float64", [1], [0.1]);
    expect(convertFeed("x", double, "float32").data).toEqual(Float32Array.of(0.1));
  });

  test("never turns bytes into floats, nor a value into a type it does not fit", () => {
    const bytes = feedFrom("x", "uint8", [1], [200]);
    expect(() => convertFeed("x", bytes, "float32")).toThrow("never converted silently");
    expect(() => convertFeed("x", bytes, "int8")).toThrow("200 at element 0");
  });
});

function caught(act: () => void): unknown {
  try {
    act();
  } catch (error) {
    expect(isBitloomError(error)).toBe(true);
    return error;
  }
  throw new Error("did not throw");
}
