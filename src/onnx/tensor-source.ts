/**
 * Tensors made in memory, and reading small integer constants. Not here: tensors of a file (`tensor-data.ts`).
 */
import { BitloomError } from "../core/errors.ts";
import { bytesOf, type DType, dtypes, elementCount, tensorBytes } from "../core/tensor.ts";
import { maxIntCount } from "./limits.ts";
import type { TensorSource } from "./types.ts";

/**
 * A tensor over bytes in memory; the array must not change afterwards.
 *
 * @param data - a typed array whose bytes are little-endian, densely packed, as many as dtype and shape ask for.
 * @throws bad-data - the length does not fit.
 */
export function memoryTensor(
  name: string,
  dtype: DType,
  shape: readonly number[],
  data: ArrayBufferView,
): TensorSource {
  const byteLength = tensorBytes(dtype, shape);
  if (data.byteLength !== byteLength) {
    throw new BitloomError(
      "bad-data",
      `Tensor "${name}" of ${dtype} [${shape.join(", ")}] needs ${byteLength} bytes, got ${data.byteLength}. Pass data of that size.`,
      { input: name, expected: `${byteLength} bytes`, got: `${data.byteLength} bytes` },
    );
  }
  return { name, dtype, shape, byteLength, bytes: async () => bytesOf(data) };
}

/** A tensor whose bytes are computed each time they are asked for, in practice once, when the model is saved. */
export function lazyTensor(
  name: string,
  dtype: DType,
  shape: readonly number[],
  bytes: () => Promise<Uint8Array>,
): TensorSource {
  return { name, dtype, shape, byteLength: tensorBytes(dtype, shape), bytes };
}

/**
 * The integers of a small constant (shape, axes, counts), rounded to double beyond 2^53.
 *
 * @throws unsupported - no whole-byte integer type, or more than 2^20 elements.
 */
export async function readInts(source: TensorSource): Promise<number[]> {
  const { bits } = dtypes[source.dtype];
  const count = elementCount(source.shape);
  if (!/^u?int(8|16|32|64)$/.test(source.dtype) || count > maxIntCount) {
    throw new BitloomError(
      "unsupported",
      `Tensor "${source.name}" is ${source.dtype} with ${count} elements; expected integers of 8 to 64 bits, at most ${maxIntCount}.`,
      { what: `reading ${source.dtype} as a list of integers`, node: source.name },
    );
  }
  const bytes = await source.bytes();
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const signed = !source.dtype.startsWith("u");
  return Array.from({ length: count }, (_, i) => {
    const at = (i * bits) / 8;
    if (bits === 64)
      return Number(signed ? view.getBigInt64(at, true) : view.getBigUint64(at, true));
    if (bits === 32) return signed ? view.getInt32(at, true) : view.getUint32(at, true);
    if (bits === 16) return signed ? view.getInt16(at, true) : view.getUint16(at, true);
    return signed ? view.getInt8(at) : view.getUint8(at);
  });
}
