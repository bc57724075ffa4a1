/**
 * Seeded random weights that cost no memory until a model is saved. Invariant: a weight follows from the seed and its
 * key (the name that the original checkpoint would use) alone, so differently written graphs share their weights,
 * also where one of them packs several matrices into one tensor.
 */
import { createRandom } from "../../../src/core/random.ts";
import { bytesOf, toFloat16Bits } from "../../../src/core/tensor.ts";
import { lazyTensor, type TensorSource } from "../../../src/onnx/index.ts";
import type { TransformerFloat } from "./config.ts";

/** A matrix [rows, columns] or, with one row, a vector. */
export interface RandomPart {
  readonly key: string;
  readonly rows: number;
  readonly columns: number;
  readonly mean: number;
  readonly deviation: number;
}

/** A matrix of K inputs and N outputs that keeps unit variance: deviation gain / √K. */
export function matrixPart(key: string, k: number, n: number, gain = 1): RandomPart {
  return { key, rows: k, columns: n, mean: 0, deviation: gain / Math.sqrt(k) };
}

/** A vector. */
export function vectorPart(
  key: string,
  length: number,
  mean: number,
  deviation: number,
): RandomPart {
  return { key, rows: 1, columns: length, mean, deviation };
}

/**
 * One tensor of parts side by side: [rows, Σ columns], or [Σ columns] when `asVector`.
 *
 * @param name - of the initializer.
 */
export function randomTensor(
  name: string,
  dtype: TransformerFloat,
  seed: number,
  parts: readonly RandomPart[],
  asVector = false,
): TensorSource {
  const { rows } = parts[0];
  const width = parts.reduce((sum, { columns }) => sum + columns, 0);
  return lazyTensor(name, dtype, asVector ? [width] : [rows, width], async () => {
    const values = new Float32Array(rows * width);
    let from = 0;
    for (const part of parts) {
      fill(values, part, seed, from, width);
      from += part.columns;
    }
    return inType(values, dtype);
  });
}

/** A tensor computed when it is asked for. */
export function computedTensor(
  name: string,
  dtype: TransformerFloat,
  shape: readonly number[],
  values: () => Float32Array,
): TensorSource {
  return lazyTensor(name, dtype, shape, async () => inType(values(), dtype));
}

function inType(values: Float32Array, dtype: TransformerFloat): Uint8Array {
  return bytesOf(dtype === "float32" ? values : Uint16Array.from(values, toFloat16Bits));
}

/** Standard deviation of the sum of four uniform bytes. */
const fourBytesDeviation = Math.sqrt((4 * (256 ** 2 - 1)) / 12);

/** Nearly normal numbers from the four bytes of one draw: ten times faster than Box–Muller, which counts at 135 M. */
function fill(
  values: Float32Array,
  part: RandomPart,
  seed: number,
  from: number,
  width: number,
): void {
  const random = createRandom(seedOf(`${seed}/${part.key}`));
  const scale = part.deviation / fourBytesDeviation;
  for (let r = 0; r < part.rows; r++) {
    for (let at = r * width + from, end = at + part.columns; at < end; at++) {
      const bits = (random.next() * 2 ** 32) >>> 0;
      const sum = (bits & 255) + ((bits >>> 8) & 255) + ((bits >>> 16) & 255) + (bits >>> 24);
      values[at] = part.mean + scale * (sum - 510);
    }
  }
}

/** FNV-1a. */
function seedOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}
