/**
 * Random weights and inputs of a product, and its true values.
 */
import type { LowBits } from "../../native/index.ts";

export const blockSize = 32;

export interface Weights {
  readonly bits: LowBits;
  readonly n: number;
  readonly k: number;
  /** uint8 [n, k] */
  readonly codes: Uint8Array;
  /** float32 [n, k / blockSize]; zero points are 2^(bits − 1). */
  readonly scales: Float32Array;
}

export function randomNumbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

export function randomWeights(n: number, k: number, bits: LowBits): Weights {
  const random = randomNumbers(n + k + bits);
  return {
    bits,
    n,
    k,
    codes: Uint8Array.from({ length: n * k }, () => random() * 2 ** bits),
    scales: Float32Array.from(
      { length: (n * k) / blockSize },
      () => (0.02 + 0.01 * random()) / 2 ** bits,
    ),
  };
}

export function randomInput(m: number, k: number): Float32Array {
  const random = randomNumbers(m * k);
  return Float32Array.from({ length: m * k }, () => random() + random() + random() - 1.5);
}

export function weightAt({ bits, k, codes, scales }: Weights, row: number, column: number): number {
  const at = row * k + column;
  return scales[Math.floor(at / blockSize)] * (codes[at] - 2 ** (bits - 1));
}

/** float32 [n, k]: the weights as numbers. */
export function floatWeights(weights: Weights): Float32Array {
  const { n, k } = weights;
  const values = new Float32Array(n * k);
  for (let row = 0; row < n; row++) {
    for (let at = 0; at < k; at++) values[row * k + at] = weightAt(weights, row, at);
  }
  return values;
}

/**
 * Relative L2 error of an output [m, n] over a sample of its values.
 */
export function relativeError(output: Float32Array, input: Float32Array, weights: Weights): number {
  const { n, k } = weights;
  const random = randomNumbers(1);
  let error = 0;
  let norm = 0;
  for (let sample = 0; sample < 300; sample++) {
    const at = Math.floor(random() * output.length);
    const row = Math.floor(at / n);
    let expected = 0;
    for (let i = 0; i < k; i++) expected += input[row * k + i] * weightAt(weights, at % n, i);
    error += (output[at] - expected) ** 2;
    norm += expected ** 2;
  }
  return Math.sqrt(error / norm);
}
