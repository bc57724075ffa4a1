import { describe, expect, test } from "vitest";
import type { Event } from "../../src/core/events.ts";
import { integerFormat, parseFormat } from "../../src/core/format.ts";
import { dequantize, type QuantizedTensor } from "../../src/core/quantized.ts";
import type { Matrix } from "../../src/core/tensor.ts";
import { quadraticForm } from "../../src/math/products.ts";
import { gptq } from "../../src/quantize/gptq.ts";
import { rtn } from "../../src/quantize/rtn.ts";
import { referenceGptq } from "../support/reference.ts";
import {
  correlatedHessian,
  everyFormat,
  identityHessian,
  normalMatrix,
  quantizeInput,
} from "./samples.ts";

function outputError(weight: Matrix, tensor: QuantizedTensor, hessian: Float64Array): number {
  const delta = dequantize(tensor).data.map((v, i) => v - weight.data[i]);
  return quadraticForm({ ...weight, data: delta }, hessian);
}

describe("against elimination from an explicit inverse", () => {
  // Around the 64-row chunk, the 128-column group and the 256-column tile.
  test.each([
    [1, 1, "int4-b32"],
    [3, 40, "int3-b16-asym"],
    [65, 33, "int2-b32"],
    [2, 129, "int4-b64-asym"],
    [3, 300, "int5-b256"],
    [2, 300, "int3-row-asym"],
    [2, 410, "int4-b128-s32"],
  ])("%i × %i %s: same codes and scales", (rows, cols, id) => {
    const format = parseFormat(id);
    const weight = normalMatrix(rows, cols, cols);
    const hessian = correlatedHessian(cols, rows);
    const options = { grid: "min-max", damping: 0.01 } as const;
    const actual = gptq.quantize(quantizeInput(weight, format, hessian, options));
    const expected = referenceGptq(weight.data, rows, cols, format, hessian, 0.01);
    expect([...actual.codes]).toEqual(expected.codes);
    expect([...actual.scales]).toEqual(expected.scales);
    if (!format.symmetric) expect([...(actual.zeroPoints ?? [])]).toEqual(expected.zeroPoints);
  });
});

test("H = I makes GPTQ equal round-to-nearest, in every format, grid and order", () => {
  const weight = normalMatrix(3, 140, 2);
  const hessian = identityHessian(140);
  for (const format of everyFormat) {
    for (const grid of ["mse", "min-max"] as const) {
      for (const activationOrder of [true, false]) {
        const input = quantizeInput(weight, format, hessian, { grid, activationOrder });
        expect(gptq.quantize(input)).toEqual(rtn.quantize(input));
      }
    }
  }
});

test("blocks that straddle its column groups are refused", () => {
  const format = integerFormat({ bits: 4, blockSize: 96, symmetric: true });
  const input = quantizeInput(normalMatrix(2, 256, 4), format, correlatedHessian(256, 3), {
    activationOrder: false,
  });
  expect(() => gptq.quantize(input)).toThrow("blocks of 96");
});

test("weights that overflow on the way are an error, not codes", () => {
  const weight = normalMatrix(2, 64, 4);
  // No float32 weight gets that far in a small matrix; float64 ones do when the first error is divided by U.
  const data = Float64Array.from(weight.data, (w) => w * 1e307) as unknown as Float32Array;
  const hessian = correlatedHessian(64, 3).map((value) => value * 1e6);
  const input = quantizeInput({ ...weight, data }, parseFormat("int4-b32"), hessian, {
    activationOrder: false,
  });
  expect(() => gptq.quantize(input)).toThrow("GPTQ overflowed");
});

test("without a Hessian (a pure embedding) it is round-to-nearest", () => {
  const input = quantizeInput(normalMatrix(4, 50, 3), parseFormat("int3-b32"), undefined);
  expect(gptq.quantize(input)).toEqual(rtn.quantize(input));
});

describe("H-weighted error below round-to-nearest's", () => {
  for (const bits of [2, 3, 4, 5, 6, 8]) {
    for (const symmetric of [true, false]) {
      test(`int${bits}${symmetric ? "" : " asymmetric"}, eight seeds, both grids and orders`, () => {
        const format = integerFormat({ bits, blockSize: 32, symmetric });
        for (let seed = 1; seed <= 8; seed++) {
          const weight = normalMatrix(8, 96, seed);
          const hessian = correlatedHessian(96, seed);
          for (const grid of ["mse", "min-max"] as const) {
            for (const activationOrder of [true, false]) {
              const input = quantizeInput(weight, format, hessian, { grid, activationOrder });
              const plain = outputError(weight, rtn.quantize(input), hessian);
              expect(outputError(weight, gptq.quantize(input), hessian)).toBeLessThan(plain);
            }
          }
        }
      });
    }
  }
});

test("rows do not influence each other", () => {
  const cols = 70;
  const weight = normalMatrix(67, cols, 4);
  const hessian = correlatedHessian(cols, 4);
  const format = parseFormat("int3-b32-asym");
  const whole = gptq.quantize(quantizeInput(weight, format, hessian));
  for (const row of [0, 63, 64, 66]) {
    const data = weight.data.slice(row * cols, (row + 1) * cols);
    const alone = gptq.quantize(quantizeInput({ rows: 1, cols, data }, format, hessian));
    expect(alone.codes).toEqual(whole.codes.slice(row * cols, (row + 1) * cols));
  }
});

describe("dead columns", () => {
  const cols = 40;
  const weight = normalMatrix(5, cols, 6);
  const format = parseFormat("int4-b32");
  const hessian = correlatedHessian(cols, 6);
  const dead = [0, 17, 39];
  for (const k of dead) {
    for (let j = 0; j < cols; j++) hessian[k * cols + j] = hessian[j * cols + k] = 0;
  }

  test.each([true, false])("are rounded in place (activation order %s)", (activationOrder) => {
    const events: Event[] = [];
    const onEvent = (event: Event) => events.push(event);
    const input = quantizeInput(weight, format, hessian, { activationOrder, onEvent });
    const tensor = gptq.quantize(input);
    const rounded = dequantize(tensor).data;
    const limit = 2 ** (format.bits - 1);
    for (let n = 0; n < weight.rows; n++) {
      for (const k of dead) {
        const scale = tensor.scales[n * 2 + Math.floor(k / 32)];
        const w = weight.data[n * cols + k];
        if (Math.abs(w / scale) > limit - 1) continue;
        const error = Math.abs(rounded[n * cols + k] - w);
        expect(error).toBeLessThanOrEqual((Math.abs(scale) / 2) * (1 + 1e-6));
      }
    }
    expect(events).toMatchObject([
      { type: "notice", notice: { code: "dead-columns", layer: "/model/q/MatMul" } },
    ]);
  });

  test("a Hessian of zeros is round-to-nearest", () => {
    const input = quantizeInput(weight, format, new Float64Array(cols * cols));
    expect(gptq.quantize(input)).toEqual(rtn.quantize(input));
  });
});

describe("damping", () => {
  test("raising it is a notice on every call, although the factor is remembered", () => {
    const hessian = Float64Array.of(1, 2, 2, 1);
    const codes: string[] = [];
    const onEvent = (event: Event) => {
      if (event.type === "notice") codes.push(event.notice.code);
    };
    const weight = normalMatrix(2, 2, 1);
    const input = quantizeInput(weight, parseFormat("int4-b32"), hessian, { onEvent });
    const first = gptq.quantize(input);
    const afterFirst = codes.length;
    expect(gptq.quantize(input)).toEqual(first);
    expect(new Set(codes)).toEqual(new Set(["damping-raised"]));
    expect(codes.length).toBe(2 * afterFirst);
  });

  test("another damping or order is not answered from memory", () => {
    const cols = 64;
    const weight = normalMatrix(6, cols, 5);
    const format = parseFormat("int3-b32");
    const hessian = correlatedHessian(cols, 5);
    for (const options of [
      { damping: 0.01 },
      { damping: 10 },
      { damping: 0.01, activationOrder: true },
      { damping: 0.01 },
    ]) {
      const remembered = gptq.quantize(quantizeInput(weight, format, hessian, options));
      const fresh = gptq.quantize(quantizeInput(weight, format, hessian.slice(), options));
      expect(remembered).toEqual(fresh);
    }
  });

  test("a Hessian with NaN is a numeric error that names the layer", () => {
    const input = quantizeInput(
      normalMatrix(1, 2, 1),
      parseFormat("int4-b32"),
      Float64Array.of(1, Number.NaN, Number.NaN, 1),
    );
    expect(() => gptq.quantize(input)).toThrow("/model/q/MatMul");
  });
});
