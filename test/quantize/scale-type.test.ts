import { describe, expect, test } from "vitest";
import { float16Format, float32Format, parseFormat } from "../../src/core/format.ts";
import { scaleTypeFor } from "../../src/quantize/scale-type.ts";
import { normalMatrix } from "./samples.ts";

const format = parseFormat("int4-b32");
const times = (factor: number, zeros = 0) => {
  const weight = normalMatrix(4, 64, 1);
  return { ...weight, data: weight.data.map((w, i) => (i < zeros ? 0 : w * factor)) };
};

describe("scaleTypeFor", () => {
  test("ordinary weights and blocks of zeros keep float16", () => {
    expect(scaleTypeFor(times(0.02), format)).toBe("float16");
    expect(scaleTypeFor(times(0.02, 64), format)).toBe("float16");
    expect(scaleTypeFor(times(0), format)).toBe("float16");
    expect(scaleTypeFor(times(1e5), format)).toBe("float16");
  });

  test("overflow and deep subnormals of a single block need float32", () => {
    expect(scaleTypeFor(times(1e6), format)).toBe("float32");
    expect(scaleTypeFor(times(1e-7), format)).toBe("float32");
    expect(scaleTypeFor(times(1e-30), format)).toBe("float32");
    const mixed = times(0.02);
    for (let i = 32; i < 64; i++) mixed.data[i] *= 1e-6;
    expect(scaleTypeFor(mixed, format)).toBe("float32");
  });

  test("shallow subnormals are exact enough", () => {
    const weight = { rows: 1, cols: 1, data: Float32Array.of(2 ** -15) };
    expect(scaleTypeFor(weight, parseFormat("int2-b32"))).toBe("float16");
  });

  test("float formats have no scales and answer their own type", () => {
    expect(scaleTypeFor(times(1e6), float16Format)).toBe(float16Format.scaleType);
    expect(scaleTypeFor(times(1), float32Format)).toBe(float32Format.scaleType);
  });
});
