/**
 * Slow twins of the low-bit kernels: plain loops, integers exact, float parts in float64.
 */

import { activationLayout, rowTiles } from "../../../native/low-bit/activations.ts";
import type { ActivationType, MatrixShape } from "../../../native/low-bit/index.ts";

const span = 128;

/** Numbers in 0..1, the same for every run. */
export function randomNumbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

export interface Quantized {
  readonly m: number;
  readonly k: number;
  readonly activation: ActivationType;
  /** [m][paddedK] */
  readonly codes: readonly Int32Array[];
  /** [m][spans] */
  readonly scales: readonly Float32Array[];
}

const roundToEven = (x: number): number => {
  const floor = Math.floor(x);
  const rest = x - floor;
  if (rest === 0.5) return floor % 2 === 0 ? floor : floor + 1;
  return rest > 0.5 ? floor + 1 : floor;
};

export function quantizeReference(
  input: Float32Array,
  m: number,
  k: number,
  activation: ActivationType,
): Quantized {
  const { paddedK, spans } = activationLayout(m, k, activation);
  const limit = activation === "int8" ? 127 : 32767;
  const codes = Array.from({ length: m }, () => new Int32Array(paddedK));
  const scales = Array.from({ length: m }, () => new Float32Array(spans));
  for (let row = 0; row < m; row++) {
    for (let at = 0; at < spans; at++) {
      const values = input.subarray(row * k + at * span, row * k + Math.min(k, (at + 1) * span));
      const largest = values.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
      if (largest < 1e-30) continue;
      scales[row][at] = largest / limit;
      const inverse = Math.fround(limit / largest);
      for (const [i, x] of values.entries()) {
        codes[row][at * span + i] = roundToEven(Math.fround(x * inverse));
      }
    }
  }
  return { m, k, activation, codes, scales };
}

/** The activation buffer's three parts, as `activations.ts` describes them. */
export function activationArrays({ m, k, activation, codes, scales }: Quantized) {
  const { paddedK, spans } = activationLayout(m, k, activation);
  const { tiles, rows, tallTiles } = rowTiles(m, activation);
  const perLane = activation === "int8" ? 4 : 2;
  const codeArray =
    activation === "int8" ? new Int8Array(m * paddedK) : new Int16Array(m * paddedK);
  const sums = new Int32Array(m * (paddedK / 16 + 1));
  const scaleArray = new Float32Array(m * spans);
  let first = 0;
  for (let tile = 0; tile < tiles; tile++) {
    const height = rows + (tile < tallTiles ? 1 : 0);
    for (let row = 0; row < height; row++) {
      const source = codes[first + row];
      let total = 0;
      for (let k = 0; k < paddedK; k++) {
        const lane = Math.floor(k / perLane) * height + row;
        codeArray[first * paddedK + lane * perLane + (k % perLane)] = source[k];
        if (k % 16 === 0) sums[first * (paddedK / 16 + 1) + (k / 16) * height + row] = total;
        total += source[k];
      }
      sums[first * (paddedK / 16 + 1) + (paddedK / 16) * height + row] = total;
      for (let at = 0; at < spans; at++) {
        scaleArray[first * spans + at * height + row] = scales[first + row][at];
      }
    }
    first += height;
  }
  return { codes: codeArray, sums, scales: scaleArray };
}

export interface Weights {
  readonly shape: MatrixShape;
  /** [n][k] */
  readonly codes: Uint8Array;
  readonly scales: Float32Array;
  readonly zeroPoints: Uint8Array;
  readonly blocks: number;
  readRow(row: number, into: Uint8Array): void;
}

/** Scales of both signs and some zeros; codes and zero points over the whole range. */
export function randomWeights(shape: MatrixShape, seed = 1): Weights {
  const { n, k, bits, blockSize, symmetric } = shape;
  const random = randomNumbers(seed);
  const blocks = Math.ceil(k / blockSize);
  const codes = Uint8Array.from({ length: n * k }, () => random() * 2 ** bits);
  const scales = Float32Array.from({ length: n * blocks }, () => {
    const x = random() - 0.4;
    return Math.abs(x) < 0.02 ? 0 : x * 0.1;
  });
  const zeroPoints = Uint8Array.from({ length: n * blocks }, () =>
    symmetric ? 2 ** (bits - 1) : random() * 2 ** bits,
  );
  const readRow = (row: number, into: Uint8Array) =>
    into.set(codes.subarray(row * k, (row + 1) * k));
  return { shape, codes, scales, zeroPoints, blocks, readRow };
}

export const weightAt = ({ shape, codes, scales, zeroPoints, blocks }: Weights) => {
  const { k, blockSize } = shape;
  return (row: number, column: number): number => {
    const block = row * blocks + Math.floor(column / blockSize);
    return scales[block] * (codes[row * k + column] - zeroPoints[block]);
  };
};

/** The product from quantized activations, with Σ|a·w| as the unit of its error bound. */
export function productReference(
  a: Quantized,
  w: Weights,
  bias: Float32Array | undefined,
): { readonly values: Float64Array; readonly magnitudes: Float64Array } {
  const { n, k } = w.shape;
  const weight = weightAt(w);
  const values = new Float64Array(a.m * n);
  const magnitudes = new Float64Array(a.m * n);
  for (let row = 0; row < a.m; row++) {
    for (let column = 0; column < n; column++) {
      let sum = bias?.[column] ?? 0;
      let magnitude = Math.abs(sum);
      for (let at = 0; at < k; at++) {
        const scale = a.scales[row][Math.floor(at / span)];
        const term = scale * a.codes[row][at] * weight(column, at);
        sum += term;
        magnitude += Math.abs(term);
      }
      values[row * n + column] = sum;
      magnitudes[row * n + column] = magnitude;
    }
  }
  return { values, magnitudes };
}

export const randomInput = (m: number, k: number, seed = 7): Float32Array => {
  const random = randomNumbers(seed);
  return Float32Array.from({ length: m * k }, () => random() + random() + random() - 1.5);
};
