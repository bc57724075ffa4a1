/**
 * Masks of the attention operators as one additive float mask [batch, heads or 1, rows, keys].
 */
import { contiguousStrides } from "../../../../native/index.ts";
import type { TensorType } from "../../session/operator.ts";
import type { NumberArray } from "../../session/storage.ts";

export interface MaskSizes {
  readonly batch: number;
  readonly rows: number;
  /** Those of a cache included. */
  readonly keys: number;
  /** Of them, those of the cache. */
  readonly past: number;
}

/** True where sample b, row i may see key j. */
export type Visible = (b: number, i: number, j: number) => boolean;

/**
 * The rule that a padding mask of the contrib operators states by its shape: [batch] lengths, [2 · batch] ends and
 * starts, [3 · batch + 2] lengths first, [batch, keys], [batch, rows, keys], [batch, 1, most, most].
 *
 * @throws RangeError for other shapes.
 */
export function visibleKeys(
  shape: readonly number[],
  data: NumberArray,
  sizes: MaskSizes,
): Visible {
  const { batch, rows, keys, past } = sizes;
  const [first, ...rest] = shape;
  if (rest.length === 0) {
    if (first === batch || first === 3 * batch + 2) return (b, _, j) => j < data[b];
    if (first === 2 * batch) return (b, _, j) => j < data[b] && j >= data[batch + b];
  } else if (rest.length === 1 && first === batch && rest[0] === keys) {
    return (b, _, j) => data[b * keys + j] > 0;
  } else if (rest.length === 1 && first === batch && rest[0] === keys - past) {
    // A mask of the new keys alone leaves the cache visible.
    return (b, _, j) => j < past || data[b * (keys - past) + j - past] > 0;
  } else if (rest.length === 2 && rest[0] === rows && rest[1] === keys) {
    return (b, i, j) => data[(b * rows + i) * keys + j] > 0;
  } else if (rest.length === 3) {
    const most = shape[3];
    return (b, i, j) => data[(b * most + past + i) * most + j] > 0;
  }
  throw new RangeError(`a mask [${shape.join(", ")}] for ${batch} × ${rows} × ${keys}`);
}

/** The element of a tensor that broadcasts to [batch, heads, rows, keys]. */
export function broadcastAt(
  shape: readonly number[],
): (b: number, h: number, i: number, j: number) => number {
  const padded = [1, 1, 1, 1, ...shape].slice(-4);
  const strides = contiguousStrides(padded).map((stride, axis) =>
    padded[axis] === 1 ? 0 : stride,
  );
  return (b, h, i, j) => b * strides[0] + h * strides[1] + i * strides[2] + j * strides[3];
}

/** The smallest tensor that holds a mask: one head if all are alike. */
export const maskType = (sizes: MaskSizes, heads: number): TensorType => ({
  dtype: "float32",
  shape: [sizes.batch, heads, sizes.rows, sizes.keys],
});

/** Fills a mask of `maskType`. */
export function fillMask(
  target: NumberArray,
  { shape }: TensorType,
  value: (b: number, h: number, i: number, j: number) => number,
): void {
  const [batch, heads, rows, keys] = shape;
  let at = 0;
  for (let b = 0; b < batch; b++) {
    for (let h = 0; h < heads; h++) {
      for (let i = 0; i < rows; i++) {
        for (let j = 0; j < keys; j++) target[at++] = value(b, h, i, j);
      }
    }
  }
}
