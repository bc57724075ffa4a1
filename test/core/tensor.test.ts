import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  bytesOf,
  dtypeFromCode,
  dtypes,
  elementCount,
  fromBfloat16Bits,
  fromFloat16Bits,
  roundToFloat16,
  tensorBytes,
  toFloat16Bits,
  toFloat32,
} from "../../src/core/tensor.ts";
import { referenceFloat16, referenceFloat16Bits } from "../support/reference.ts";

describe("float16", () => {
  test("all 65536 bit patterns survive the round trip (NaN as NaN)", () => {
    for (let bits = 0; bits < 65536; bits++) {
      const value = fromFloat16Bits(bits);
      if ((bits & 0x7fff) > 0x7c00) {
        expect(value).toBeNaN();
        expect(fromFloat16Bits(toFloat16Bits(value))).toBeNaN();
      } else {
        if ((bits & 0x7fff) < 0x7c00 && value !== referenceFloat16(bits)) expect.unreachable();
        if (toFloat16Bits(value) !== bits) expect.unreachable(`0x${bits.toString(16)}`);
      }
    }
  });

  test("every half-way point and its float32 neighbours round as the reference does", () => {
    const f32 = new Float32Array(1);
    const u32 = new Uint32Array(f32.buffer);
    for (let bits = 0; bits < 0x7bff; bits++) {
      f32[0] = (fromFloat16Bits(bits) + fromFloat16Bits(bits + 1)) / 2;
      const middle = u32[0];
      for (const pattern of [middle - 1, middle, middle + 1]) {
        u32[0] = pattern;
        for (const value of [f32[0], -f32[0]]) {
          if (toFloat16Bits(value) !== referenceFloat16Bits(value)) expect.unreachable(`${value}`);
        }
      }
    }
  });

  test("any float32 rounds to the nearest, ties to even, overflow to infinity", () => {
    fc.assert(
      fc.property(fc.float({ noNaN: true }), (value) => {
        expect(toFloat16Bits(value)).toBe(referenceFloat16Bits(value));
      }),
      { numRuns: 2000 },
    );
    expect(roundToFloat16(65519)).toBe(65504);
    expect(roundToFloat16(65520)).toBe(Number.POSITIVE_INFINITY);
    expect(roundToFloat16(-70000)).toBe(Number.NEGATIVE_INFINITY);
    expect(roundToFloat16(2 ** -25)).toBe(0);
  });
});

test("bfloat16 is the upper half of float32", () => {
  expect(fromBfloat16Bits(0x3f80)).toBe(1);
  expect(fromBfloat16Bits(0xc040)).toBe(-3);
});

test("toFloat32 reads unaligned little-endian bytes of the three float types", () => {
  const shifted = (bytes: Uint8Array) => Uint8Array.of(0xff, ...bytes).subarray(1);
  expect([...toFloat32("float32", shifted(bytesOf(Float32Array.of(1.5, -2))))]).toEqual([1.5, -2]);
  const halves = Uint16Array.of(0x3c00, 0xc000);
  expect([...toFloat32("float16", shifted(bytesOf(halves)))]).toEqual([1, -2]);
  const brains = Uint16Array.of(0x3f80, 0xc000);
  expect([...toFloat32("bfloat16", shifted(bytesOf(brains)))]).toEqual([1, -2]);
});

describe("element types", () => {
  test("codes and names are one to one", () => {
    for (const [name, { code }] of Object.entries(dtypes)) expect(dtypeFromCode(code)).toBe(name);
    expect(dtypeFromCode(0)).toBeUndefined();
    expect(dtypeFromCode(99)).toBeUndefined();
  });

  test("sub-byte types round up once over the whole tensor", () => {
    expect(elementCount([])).toBe(1);
    expect(tensorBytes("float32", [2, 3])).toBe(24);
    expect(tensorBytes("int4", [3, 3])).toBe(5);
    expect(tensorBytes("uint2", [5])).toBe(2);
    expect(tensorBytes("int64", [0, 7])).toBe(0);
  });
});
