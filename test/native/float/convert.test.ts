import { describe, expect, test } from "vitest";
import { type ConvertName, convertKernels, planConvert } from "../../../native/float/convert.ts";
import {
  type AffineName,
  affineKernels,
  planAffine,
} from "../../../native/float/convert-affine.ts";
import { edgeValues, floats, runSplit } from "./float-cases.ts";

type Elements = Float32Array | Float64Array | Int32Array | Uint16Array | Uint8Array | Int8Array;

function convert<E extends Elements>(name: ConvertName, input: Elements, output: E): E {
  const plan = planConvert(input.length);
  const arrays = { input, output };
  runSplit({ kernel: convertKernels[name], plan, arrays, outputs: ["output"], misalign: 8 });
  return output;
}

/** The value of float16 bits, by the definition of the format. */
function halfValue(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return exponent === 0
    ? sign * fraction * 2 ** -24
    : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

const allHalves = Uint16Array.from({ length: 65536 }, (_, bits) => bits);

/** The nearest of `values` (ascending, at even places the even ones). */
function nearest(values: readonly number[], x: number): number {
  let low = 0;
  let high = values.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (values[middle] <= x) low = middle;
    else high = middle;
  }
  const [below, above] = [x - values[low], values[high] - x];
  if (below === above) return low % 2 === 0 ? low : high;
  return below < above ? low : high;
}

describe("float16", () => {
  test("all 65536 to float32, exact", () => {
    const output = convert("f16-f32", allHalves, new Float32Array(65536));
    expect(output).toEqual(Float32Array.from(allHalves, halfValue));
  });

  test("from float32: the nearest, ties to even, overflow to ∞, exact", () => {
    const positive = [...allHalves.subarray(0, 0x7c00)].map(halfValue);
    const grid = [...positive, 65536];
    const middles = positive.map((x, at) => (x + grid[at + 1]) / 2);
    const input = Float32Array.from([
      ...positive,
      ...middles,
      ...middles.map((x) => x * (1 + 2 ** -20)),
      ...middles.map((x) => x * (1 - 2 ** -20)),
      ...floats(3000, 0, 70000),
      ...floats(3000, 0, 2 ** -14),
      1e-8,
      2 ** -149,
      1e30,
      Number.POSITIVE_INFINITY,
    ]);
    // 65536 has the bits of ∞.
    const expected = Uint16Array.from(input, (x) => nearest(grid, Math.min(x, 65536)));
    const output = convert("f32-f16", input, new Uint16Array(input.length));
    expect(output).toEqual(expected);
    const negative = convert(
      "f32-f16",
      input.map((x) => -x),
      new Uint16Array(input.length),
    );
    expect(negative).toEqual(expected.map((bits) => bits | 0x8000));
  });

  test("NaN stays NaN both ways", () => {
    const bits = convert(
      "f32-f16",
      Float32Array.of(Number.NaN, -Number.NaN, 1),
      new Uint16Array(3),
    );
    expect(halfValue(bits[0])).toBeNaN();
    expect(halfValue(bits[1])).toBeNaN();
  });
});

describe("bfloat16", () => {
  test("all to float32, exact", () => {
    const output = convert("bf16-f32", allHalves, new Float32Array(65536));
    const expected = new Float32Array(Uint32Array.from(allHalves, (bits) => bits << 16).buffer);
    expect(output).toEqual(expected);
  });

  test("from float32: the nearest, ties to even, exact", () => {
    const bits = Uint32Array.from({ length: 20000 }, (_, at) =>
      at % 3 === 0 ? (at << 15) >>> 0 : Math.imul(at, 0x9e3779b1) >>> 0,
    );
    const input = new Float32Array(bits.buffer);
    const output = convert("f32-bf16", input, new Uint16Array(input.length));
    for (let at = 0; at < input.length; at++) {
      const low = bits[at] & 0xffff;
      const up = low > 0x8000 || (low === 0x8000 && (bits[at] >>> 16) % 2 === 1);
      const expected = (bits[at] >>> 16) + (up ? 1 : 0);
      if (Number.isNaN(input[at])) expect((output[at] & 0x7fff) > 0x7f80).toBe(true);
      else expect(output[at]).toBe(expected & 0xffff);
    }
  });
});

describe("other types, exact", () => {
  const values = [...edgeValues, ...floats(2000, -300, 300), 255.5, -128.9, 2147483648, 0.99];
  const saturate = (low: number, high: number) => (x: number) =>
    Number.isNaN(x) ? 0 : Math.min(Math.max(Math.trunc(x), low), high);
  const float32 = Float32Array.from(values);
  const float64 = Float64Array.from(values);
  const int32 = Int32Array.from({ length: 3001 }, (_, at) => Math.imul(at, 0x9e3779b1));
  const bytes = Uint8Array.from({ length: 259 }, (_, at) => at);
  const signed = new Int8Array(bytes.buffer);
  const truncate = (x: number) => (Number.isNaN(x) ? 0 : Math.trunc(x));
  const toInt32 = saturate(-(2 ** 31), 2 ** 31 - 1);
  const cases: Readonly<
    Partial<Record<ConvertName, readonly [Elements, Elements, (x: number) => number]>>
  > = {
    "f64-f32": [float64, new Float32Array(), (x) => x],
    "i32-f32": [int32, new Float32Array(), (x) => x],
    "u8-f32": [bytes, new Float32Array(), (x) => x],
    "i8-f32": [signed, new Float32Array(), (x) => x],
    "f32-f64": [float32, new Float64Array(), (x) => x],
    "f32-i32": [float32, new Int32Array(), toInt32],
    "f32-u8": [float32, new Uint8Array(), saturate(0, 255)],
    "f32-i8": [float32, new Int8Array(), saturate(-128, 127)],
    "f32-bool": [float32, new Uint8Array(), (x) => (x !== 0 ? 1 : 0)],
    "i32-f64": [int32, new Float64Array(), (x) => x],
    "f64-i32": [float64, new Int32Array(), toInt32],
    "u8-f64": [bytes, new Float64Array(), (x) => x],
    "i8-f64": [signed, new Float64Array(), (x) => x],
    "f64-bool": [float64, new Uint8Array(), (x) => (x !== 0 ? 1 : 0)],
    "f32-f64-truncate": [float32, new Float64Array(), truncate],
    "f64-truncate": [float64, new Float64Array(), truncate],
    "f32-bool-is-nan": [float32, new Uint8Array(), (x) => (Number.isNaN(x) ? 1 : 0)],
    "bool-not": [bytes, new Uint8Array(), (x) => (x === 0 ? 1 : 0)],
  };

  test("every conversion has a test", () => {
    const halves = ["f16-f32", "f32-f16", "bf16-f32", "f32-bf16"];
    expect([...Object.keys(cases), ...halves].sort()).toEqual(Object.keys(convertKernels).sort());
  });

  test.each(Object.entries(cases))("%s", (name, [input, empty, twin]) => {
    const ofType = empty.constructor as new (count: number) => Elements;
    for (const count of [0, 1, 3, 6, input.length]) {
      const part = input.slice(0, count);
      const output = convert(name as ConvertName, part, new ofType(count));
      const expected = new ofType(count);
      for (const [at, x] of part.entries()) expected[at] = twin(x);
      expect(output).toEqual(expected);
    }
  });
});

describe("affine codes of 8 bits, exact", () => {
  const layouts: readonly (readonly [readonly number[], number | undefined])[] = [
    [[5, 7], undefined],
    [[2500], undefined],
    [[3, 5, 7], 1],
    [[6, 9], 1],
    [[4, 33], 0],
    [[0, 4], 1],
  ];
  const roundHalfEven = (x: number) => {
    const floor = Math.floor(x);
    if (x - floor !== 0.5) return Math.round(x);
    return floor % 2 === 0 ? floor : floor + 1;
  };
  const sizeOf = (shape: readonly number[]) => shape.reduce((total, size) => total * size, 1);

  test.each(Object.keys(affineKernels) as AffineName[])("%s", (name) => {
    const isSigned = name.includes("i8");
    const codesOf = (count: number, code: (at: number) => number): Int8Array | Uint8Array => {
      const array = isSigned ? new Int8Array(count) : new Uint8Array(count);
      return array.map((_, at) => code(at));
    };
    const [low, high] = isSigned ? [-128, 127] : [0, 255];
    for (const [shape, axis] of layouts) {
      const count = sizeOf(shape);
      const channels = axis === undefined ? 1 : shape[axis];
      const inner = axis === undefined ? 1 : sizeOf(shape.slice(axis + 1));
      const channelOf = (at: number) => Math.floor(at / inner) % channels;
      const scale = floats(channels, 0.02, 0.05, 3);
      const codes = codesOf(count, (at) => low + ((at * 37) % 256));
      const real = floats(count, -9, 9);
      if (count > 2) real[1] = 1e30;
      if (count > 2) real[2] = scale[channelOf(2)] * 2.5;
      for (const zeroPoint of [undefined, codesOf(channels, (at) => low + 100 + at)]) {
        const isQuantize = name.endsWith("-quantize");
        const input = isQuantize ? real : codes;
        const output = isQuantize ? codesOf(count, () => 0) : new Float32Array(count);
        runSplit({
          kernel: affineKernels[name],
          plan: planAffine(shape, axis),
          arrays: { input, output, scale, ...(zeroPoint && { zeroPoint }) },
          values: zeroPoint ? {} : { zeroPoint: 0 },
          outputs: ["output"],
        });
        const expected = output.map((_: number, at: number) => {
          const channel = channelOf(at);
          const zero = zeroPoint?.[channel] ?? 0;
          if (!isQuantize) return Math.fround((codes[at] - zero) * scale[channel]);
          const code = roundHalfEven(Math.fround(real[at] / scale[channel])) + zero;
          return Math.min(Math.max(code, low), high);
        });
        expect(output).toEqual(expected);
      }
    }
  });
});
