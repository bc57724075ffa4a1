import { describe, expect, test } from "vitest";
import { activationTypeFor, availableTiers } from "../../../native/index.ts";
import {
  type ActivationType,
  type LowBits,
  lowBitMatrix,
  lowBits,
  type MatrixShape,
} from "../../../native/low-bit/index.ts";
import { runKernel } from "../harness.ts";
import {
  activationArrays,
  productReference,
  quantizeReference,
  randomInput,
  randomWeights,
  type Weights,
  weightAt,
} from "./reference.ts";

const tiers = availableTiers();
const canRun = (activation: ActivationType, bits: LowBits) =>
  activation === "int16" || activationTypeFor(bits, tiers, false) === "int8";
if (!tiers.relaxedSimd.isUsable) {
  console.warn(`int8 products are not tested here: ${tiers.relaxedSimd.reason}`);
}

interface ProductRun {
  readonly shape: MatrixShape;
  readonly m: number;
  readonly hasBias?: boolean;
  readonly misalign?: number;
  readonly threads?: number;
  readonly ranges?: (items: number) => [number, number][];
  /** The largest numbers that activations and codes have, instead of random ones. */
  readonly isExtreme?: boolean;
}

function multiply(run: ProductRun) {
  const { shape, m, hasBias = false, misalign = 0, threads = 1 } = run;
  const matrix = lowBitMatrix(shape);
  const random = randomWeights(shape, shape.n * 31 + shape.k);
  const weights = run.isExtreme ? largestCodes(random) : random;
  const packed = new Uint8Array(matrix.bytes);
  matrix.pack(weights, packed);
  const input = run.isExtreme
    ? new Float32Array(m * shape.k).map((_, at) => (Math.floor(at / shape.k) % 2 ? -1 : 1))
    : randomInput(m, shape.k, m);
  const quantized = quantizeReference(input, m, shape.k, shape.activation);
  const bias = hasBias ? randomInput(1, shape.n, 3) : undefined;
  const output = new Float32Array(m * shape.n);
  const addresses = { activations: 0, weights: 0, bias: 0, output: 0 };
  const { kernel, values, items } = matrix.product(m, addresses, threads);
  runKernel({
    kernel: kernel as never,
    arrays: {
      ...activationArrays(quantized),
      weights: packed,
      output,
      ...(bias ? { bias } : {}),
    } as never,
    values: Object.fromEntries(
      Object.entries(values).filter(
        ([name]) =>
          !["codes", "sums", "scales", "weights", "output"].includes(name) &&
          !(bias && name === "bias"),
      ),
    ) as never,
    items,
    misalign,
    ...(run.ranges ? { ranges: run.ranges(items) } : {}),
  });
  return { output, quantized, weights, bias, input, items };
}

/** All codes at their upper end, zero points at either end. */
function largestCodes(weights: Weights): Weights {
  const { shape, zeroPoints } = weights;
  const largest = 2 ** shape.bits - 1;
  const codes = weights.codes.map(() => largest);
  const readRow = (_: number, into: Uint8Array) => into.fill(largest);
  const ends = zeroPoints.map((_, at) => (at % 2 ? largest : 0));
  return { ...weights, codes, readRow, zeroPoints: shape.symmetric ? zeroPoints : ends };
}

/** Two roundings per block and span, one each for scales, sum and bias. */
function expectWithinBound(run: ProductRun): void {
  const { output, quantized, weights, bias } = multiply(run);
  const { values, magnitudes } = productReference(quantized, weights, bias);
  const roundings = 3 * Math.ceil(run.shape.k / 16) + 8;
  const worst = output.reduce((most, value, at) => {
    const bound = roundings * 2 ** -24 * magnitudes[at];
    const error = Math.abs(value - values[at]);
    return Number.isFinite(value) ? Math.max(most, error / Math.max(bound, 1e-30)) : Infinity;
  }, 0);
  expect(worst, JSON.stringify({ ...run.shape, m: run.m })).toBeLessThanOrEqual(1);
}

const bound = "|error| ≤ (3K/16 + 8)·2⁻²⁴·Σ|a·w|";
const formats = (["int16", "int8"] as const).flatMap((activation) =>
  lowBits.flatMap((bits) =>
    [true, false].map((symmetric) => ({
      name: `${activation}, ${bits} bits, ${symmetric ? "symmetric" : "zero points"}`,
      activation,
      bits,
      symmetric,
    })),
  ),
);

describe.each(formats)("$name", ({ activation, bits, symmetric }) => {
  const format = { activation, bits, symmetric };
  const testHere = test.skipIf(!canRun(activation, bits));

  testHere(`every block size, whole and ragged: ${bound}`, () => {
    for (const blockSize of [16, 32, 48, 64, 96, 128, 256]) {
      for (const k of [16, 130, 288]) {
        for (const m of [1, 5]) expectWithinBound({ shape: { ...format, n: 18, k, blockSize }, m });
      }
    }
    for (const k of [7, 32, 100, 300]) {
      for (const m of [1, 3]) expectWithinBound({ shape: { ...format, n: 9, k, blockSize: k }, m });
    }
  });

  testHere(`column edges, bias, misaligned pointers: ${bound}`, () => {
    for (const n of [1, 3, 4, 7, 8, 9, 15, 16, 17, 31, 33]) {
      for (const m of [1, 2]) {
        const shape = { ...format, n, k: 64, blockSize: 32 };
        expectWithinBound({ shape, m, hasBias: n % 2 === 1, misalign: 4 });
      }
    }
  });

  testHere(`row edges: ${bound}`, () => {
    for (const m of [2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 17, 19]) {
      expectWithinBound({ shape: { ...format, n: 17, k: 96, blockSize: 32 }, m, hasBias: true });
    }
  });

  testHere(`more K than a slab, more rows than an item: ${bound}`, () => {
    expectWithinBound({ shape: { ...format, n: 5, k: 1100, blockSize: 64 }, m: 1 });
    expectWithinBound({ shape: { ...format, n: 5, k: 2100, blockSize: 16 }, m: 3 });
    expectWithinBound({ shape: { ...format, n: 3, k: 32, blockSize: 32 }, m: 301 });
  });

  testHere(`largest activations and codes: ${bound}`, () => {
    for (const blockSize of [32, 128]) {
      for (const m of [1, 4]) {
        expectWithinBound({ shape: { ...format, n: 17, k: 256, blockSize }, m, isExtreme: true });
      }
    }
  });

  testHere("split ranges and split rows give the same bytes", () => {
    const shape = { ...format, n: 50, k: 160, blockSize: 32 };
    const backwards = (items: number): [number, number][] =>
      Array.from({ length: items }, (_, at) => [items - 1 - at, items - at]);
    for (const m of [1, 21]) {
      const whole = multiply({ shape, m }).output;
      expect(multiply({ shape, m, ranges: backwards }).output).toEqual(whole);
      const split = multiply({ shape, m, threads: 8, ranges: backwards });
      expect(split.output).toEqual(whole);
      if (m > 1) expect(split.items).toBeGreaterThan(multiply({ shape, m }).items);
    }
  });

  const limit = activation === "int16" ? 5e-5 : 1.2e-2;
  testHere(`relative L2 error against float activations ≤ ${limit}`, () => {
    const shape = { ...format, n: 40, k: 512, blockSize: 32 };
    const { output, input, weights } = multiply({ shape, m: 7 });
    const weight = weightAt(weights);
    let error = 0;
    let norm = 0;
    for (const [at, value] of output.entries()) {
      const row = Math.floor(at / shape.n);
      let expected = 0;
      for (let k = 0; k < shape.k; k++) {
        expected += input[row * shape.k + k] * weight(at % shape.n, k);
      }
      error += (value - expected) ** 2;
      norm += expected ** 2;
    }
    expect(Math.sqrt(error / norm)).toBeLessThan(limit);
  });

  test("gather gives s · (code − z) exactly, NaN for ids outside", () => {
    for (const [n, k, blockSize] of [
      [37, 100, 100],
      [21, 80, 16],
      [9, 300, 128],
    ]) {
      const shape = { ...format, n, k, blockSize };
      const matrix = lowBitMatrix(shape);
      const weights = randomWeights(shape);
      const packed = new Uint8Array(matrix.bytes);
      matrix.pack(weights, packed);
      const ids = Float64Array.of(n - 1, 0, -1, 5, -n, n, -n - 1, Number.NaN, 1e300);
      const output = new Float32Array(ids.length * k);
      const { kernel, values, items } = matrix.gather(ids.length, {
        ids: 0,
        weights: 0,
        output: 0,
      });
      runKernel({
        kernel,
        arrays: { ids, weights: packed, output },
        values: { ...values, ids: undefined, weights: undefined, output: undefined } as never,
        items,
        ranges: [
          [3, items],
          [0, 3],
        ],
      });
      const weight = weightAt(weights);
      const row = (id: number) => Float32Array.from({ length: k }, (_, at) => weight(id, at));
      const rows = [n - 1, 0, n - 1, 5, 0].flatMap((id) => [...row(id)]);
      const outside = new Array(2 * k).fill(Number.NaN);
      // Not a number truncates to 0; numbers beyond 2^31 stay outside.
      const rest = [...row(0), ...new Array(k).fill(Number.NaN)];
      expect(output).toEqual(Float32Array.from([...rows, ...outside, ...rest]));
    }
  });
});
