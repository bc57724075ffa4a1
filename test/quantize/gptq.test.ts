import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Event } from "../../src/core/events.ts";
import { integerFormat, parseFormat } from "../../src/core/format.ts";
import { dequantize, type QuantizedTensor } from "../../src/core/quantized.ts";
import { createRandom } from "../../src/core/random.ts";
import type { Matrix } from "../../src/core/tensor.ts";
import { nodePlatform } from "../../src/engine/platform/node.ts";
import { openAlgebra, sharedAlgebra } from "../../src/math/algebra.ts";
import { gptq } from "../../src/quantize/gptq.ts";
import { rtn } from "../../src/quantize/rtn.ts";
import { referenceColumnLoop, referenceGptq } from "../support/reference.ts";
import {
  correlatedHessian,
  everyFormat,
  identityHessian,
  normalMatrix,
  quantizeInput,
} from "./samples.ts";

async function outputError(
  weight: Matrix,
  tensor: QuantizedTensor,
  hessian: Float64Array,
): Promise<number> {
  const { quadraticForm } = await sharedAlgebra();
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
  ])("%i × %i %s: same codes and scales", async (rows, cols, id) => {
    const format = parseFormat(id);
    const weight = normalMatrix(rows, cols, cols);
    const hessian = correlatedHessian(cols, rows);
    const options = { grid: "min-max", damping: 0.01 } as const;
    const actual = await gptq.quantize(quantizeInput(weight, format, hessian, options));
    const expected = referenceGptq(weight.data, rows, cols, format, hessian, 0.01);
    expect([...actual.codes]).toEqual(expected.codes);
    expect([...actual.scales]).toEqual(expected.scales);
    if (!format.symmetric) expect([...(actual.zeroPoints ?? [])]).toEqual(expected.zeroPoints);
  });
});

describe("against the textbook loop with U, and with a feed P", () => {
  const damp = (hessian: Float64Array, k: number) => {
    let trace = 0;
    for (let i = 0; i < k; i++) trace += hessian[i * k + i];
    return hessian.map((value, i) => (i % (k + 1) === 0 ? value + (0.01 * trace) / k : value));
  };
  const strictlyUpper = (k: number, seed: number) => {
    const random = createRandom(seed);
    return Float64Array.from({ length: k * k }, (_, i) =>
      i % k > Math.floor(i / k) ? (0.3 * random.normal()) / Math.sqrt(k) : 0,
    );
  };

  test.each([
    [3, 40, "int3-b16-asym", false, true],
    [5, 130, "int4-b32", false, true],
    [2, 300, "int3-b256", false, true],
    [3, 150, "int4-b128-asym", true, true],
    [2, 66, "int2-row", false, true],
    [5, 133, "int4-b32", true, false],
  ])("%i × %i %s, activation order %s, feed %s", async (rows, cols, id, activationOrder, feeds) => {
    const format = parseFormat(id);
    const weight = normalMatrix(rows, cols, cols);
    const hessian = correlatedHessian(cols, rows);
    const diagonal = (k: number) => hessian[k * cols + k];
    const order = Array.from({ length: cols }, (_, k) => k);
    if (activationOrder) order.sort((a, b) => diagonal(b) - diagonal(a));
    const damped = damp(hessian, cols);
    const permuted = Float64Array.from(
      damped,
      (_, i) => damped[order[Math.floor(i / cols)] * cols + order[i % cols]],
    );
    const feed = feeds ? strictlyUpper(cols, 8) : undefined;
    const options = { grid: "min-max", activationOrder } as const;
    const actual = await gptq.quantize({
      ...quantizeInput(weight, format, hessian, options),
      feed,
    });
    const expected = referenceColumnLoop(weight.data, {
      rows,
      cols,
      format,
      hessian: permuted,
      ...(feed && { feed }),
      ...(activationOrder && { order }),
    });
    expect([...actual.codes]).toEqual(expected.codes);
    expect([...actual.scales]).toEqual(expected.scales);
    if (!format.symmetric) expect([...(actual.zeroPoints ?? [])]).toEqual(expected.zeroPoints);
  });

  test("a layer of 520 × 260: H-weighted error within 1e-9", async () => {
    const [rows, cols] = [520, 260];
    const format = parseFormat("int3-b64");
    const weight = normalMatrix(rows, cols, 1);
    const hessian = correlatedHessian(cols, 2);
    const input = quantizeInput(weight, format, hessian, { grid: "min-max" });
    const actual = await gptq.quantize(input);
    const { codes, scales } = referenceColumnLoop(weight.data, {
      rows,
      cols,
      format,
      hessian: damp(hessian, cols),
    });
    const expected = {
      ...actual,
      codes: Uint8Array.from(codes),
      scales: Float32Array.from(scales),
    };
    const error = await outputError(weight, actual, hessian);
    expect(Math.abs(error / (await outputError(weight, expected, hessian)) - 1)).toBeLessThan(1e-9);
  });

  test("what lies on and below the diagonal of a feed is not read", async () => {
    const weight = normalMatrix(3, 40, 1);
    const input = quantizeInput(weight, parseFormat("int4-b16"), correlatedHessian(40, 2));
    const feed = strictlyUpper(40, 3);
    const clean = await gptq.quantize({ ...input, feed });
    const dirty = feed.map((value, i) => (i % 40 > Math.floor(i / 40) ? value : Number.NaN));
    expect(await gptq.quantize({ ...input, feed: dirty })).toEqual(clean);
    expect((await gptq.quantize(input)).codes).not.toEqual(clean.codes);
    const none = new Float64Array(40 * 40);
    expect(await gptq.quantize({ ...input, feed: none })).toEqual(await gptq.quantize(input));
  });
});

test("a target takes the place of the weight", async () => {
  const target = normalMatrix(4, 70, 1);
  const hessian = correlatedHessian(70, 2);
  for (const quantizer of [rtn, gptq]) {
    const at = (weight: Matrix) => quantizeInput(weight, parseFormat("int3-b32"), hessian);
    const input = { ...at(normalMatrix(4, 70, 9)), target };
    expect(await quantizer.quantize(input)).toEqual(await quantizer.quantize(at(target)));
  }
});

test("one, two and three threads give the same bytes", async () => {
  const weight = normalMatrix(530, 270, 1);
  const hessian = correlatedHessian(270, 2, 400);
  const feed = new Float64Array(270 * 270).fill(1e-3);
  for (const activationOrder of [false, true]) {
    const input = quantizeInput(weight, parseFormat("int4-b32-asym"), hessian, {
      activationOrder,
    });
    const alone = await gptq.quantize({ ...input, feed });
    for (const threads of [2, 3]) {
      const { startThreads } = nodePlatform;
      const algebra = await openAlgebra({ threads, startThreads });
      expect(await gptq.quantize({ ...input, feed, algebra })).toEqual(alone);
      await algebra.release();
    }
  }
});

test("calls at the same time do not mix, though the memory grows under them", async () => {
  const algebra = await openAlgebra();
  const inputs = [
    [600, 140, "int4-b32"],
    [40, 520, "int3-b128-asym"],
    [700, 260, "int2-b64"],
  ] as const;
  const calls = inputs.map(([rows, cols, id]) =>
    quantizeInput(normalMatrix(rows, cols, rows), parseFormat(id), correlatedHessian(cols, 1, 60)),
  );
  const together = await Promise.all(calls.map((one) => gptq.quantize({ ...one, algebra })));
  for (const [i, one] of calls.entries()) expect(await gptq.quantize(one)).toEqual(together[i]);
  await algebra.release();
});

test("rank-deficient Hessians: finite, better than rounding on the rows seen", async () => {
  for (const tokens of [1, 10, 50]) {
    const weight = normalMatrix(6, 100, tokens);
    const hessian = correlatedHessian(100, tokens, tokens);
    const input = quantizeInput(weight, parseFormat("int3-b32"), hessian);
    const plain = await outputError(weight, await rtn.quantize(input), hessian);
    expect(await outputError(weight, await gptq.quantize(input), hessian)).toBeLessThan(plain);
  }
});

test("the unit matrix times a power of two makes GPTQ equal round-to-nearest", async () => {
  const size = fc.integer({ min: 1, max: 140 });
  await fc.assert(
    fc.asyncProperty(
      fc.nat(8),
      size,
      fc.nat(),
      fc.constantFrom(...everyFormat),
      fc.boolean(),
      fc.integer({ min: -20, max: 20 }),
      async (n, k, seed, format, activationOrder, exponent) => {
        const weight = normalMatrix(n + 1, k, seed);
        const hessian = identityHessian(k).map((value) => value * 2 ** exponent);
        const input = quantizeInput(weight, format, hessian, { activationOrder });
        expect(await gptq.quantize(input)).toEqual(await rtn.quantize(input));
      },
    ),
    { numRuns: 60 },
  );
});

test("H = I makes GPTQ equal round-to-nearest, in every format, grid and order", async () => {
  const weight = normalMatrix(3, 140, 2);
  const hessian = identityHessian(140);
  for (const format of everyFormat) {
    for (const grid of ["mse", "min-max"] as const) {
      for (const activationOrder of [true, false]) {
        const input = quantizeInput(weight, format, hessian, { grid, activationOrder });
        expect(await gptq.quantize(input)).toEqual(await rtn.quantize(input));
      }
    }
  }
});

test("blocks that straddle its column groups are refused", async () => {
  const format = integerFormat({ bits: 4, blockSize: 96, symmetric: true });
  const input = quantizeInput(normalMatrix(2, 256, 4), format, correlatedHessian(256, 3), {
    activationOrder: false,
  });
  await expect(gptq.quantize(input)).rejects.toThrow("blocks of 96");
});

test("weights that overflow on the way are an error, not codes", async () => {
  // R = [[1e150, 1e150], [0, 1e-150]]: the second column gets 1e300 times the error of the first.
  const hessian = Float64Array.of(2e300, 1, 1, 1e-300);
  const weight = { rows: 2, cols: 2, data: Float32Array.of(1, 1, 1.2e30, 1.7e30) };
  const input = quantizeInput(weight, parseFormat("int2-b32-s32"), hessian, {
    activationOrder: false,
    grid: "min-max",
    damping: 0,
  });
  await expect(gptq.quantize(input)).rejects.toThrow(/GPTQ overflowed .* row 1/);
});

test("without a Hessian (a pure embedding) it is round-to-nearest", async () => {
  const input = quantizeInput(normalMatrix(4, 50, 3), parseFormat("int3-b32"), undefined);
  expect(await gptq.quantize(input)).toEqual(await rtn.quantize(input));
});

describe("H-weighted error below round-to-nearest's", () => {
  for (const bits of [2, 3, 4, 5, 6, 8]) {
    for (const symmetric of [true, false]) {
      test(`int${bits}${symmetric ? "" : " asymmetric"}, eight seeds, both grids and orders`, async () => {
        const format = integerFormat({ bits, blockSize: 32, symmetric });
        for (let seed = 1; seed <= 8; seed++) {
          const weight = normalMatrix(8, 96, seed);
          const hessian = correlatedHessian(96, seed);
          for (const grid of ["mse", "min-max"] as const) {
            for (const activationOrder of [true, false]) {
              const input = quantizeInput(weight, format, hessian, { grid, activationOrder });
              const plain = await outputError(weight, await rtn.quantize(input), hessian);
              expect(await outputError(weight, await gptq.quantize(input), hessian)).toBeLessThan(
                plain,
              );
            }
          }
        }
      });
    }
  }
});

test("rows do not influence each other", async () => {
  const cols = 70;
  const weight = normalMatrix(67, cols, 4);
  const hessian = correlatedHessian(cols, 4);
  const format = parseFormat("int3-b32-asym");
  const whole = await gptq.quantize(quantizeInput(weight, format, hessian));
  for (const row of [0, 63, 64, 66]) {
    const data = weight.data.slice(row * cols, (row + 1) * cols);
    const alone = await gptq.quantize(quantizeInput({ rows: 1, cols, data }, format, hessian));
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

  test.each([true, false])(
    "are rounded in place (activation order %s)",
    async (activationOrder) => {
      const events: Event[] = [];
      const onEvent = (event: Event) => events.push(event);
      const input = quantizeInput(weight, format, hessian, { activationOrder, onEvent });
      const tensor = await gptq.quantize(input);
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
    },
  );

  test("a Hessian of zeros is round-to-nearest", async () => {
    const input = quantizeInput(weight, format, new Float64Array(cols * cols));
    expect(await gptq.quantize(input)).toEqual(await rtn.quantize(input));
  });
});

describe("damping", () => {
  test("raising it is a notice on every call, although the factor is remembered", async () => {
    const hessian = Float64Array.of(1, 2, 2, 1);
    const codes: string[] = [];
    const onEvent = (event: Event) => {
      if (event.type === "notice") codes.push(event.notice.code);
    };
    const weight = normalMatrix(2, 2, 1);
    const input = quantizeInput(weight, parseFormat("int4-b32"), hessian, { onEvent });
    const first = await gptq.quantize(input);
    const afterFirst = codes.length;
    expect(await gptq.quantize(input)).toEqual(first);
    expect(new Set(codes)).toEqual(new Set(["damping-raised"]));
    expect(codes.length).toBe(2 * afterFirst);
  });

  test("another damping or order is not answered from memory", async () => {
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
      const remembered = await gptq.quantize(quantizeInput(weight, format, hessian, options));
      const fresh = await gptq.quantize(quantizeInput(weight, format, hessian.slice(), options));
      expect(remembered).toEqual(fresh);
    }
  });

  test("a Hessian with NaN is a numeric error that names the layer", async () => {
    const input = quantizeInput(
      normalMatrix(1, 2, 1),
      parseFormat("int4-b32"),
      Float64Array.of(1, Number.NaN, Number.NaN, 1),
    );
    await expect(gptq.quantize(input)).rejects.toThrow("/model/q/MatMul");
  });
});
