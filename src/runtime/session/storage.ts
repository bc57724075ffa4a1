/**
 * How tensors lie in the session's memory: every float type is computed in float32, 64-bit integers as float64 (exact
 * to 2^53, the ends of the int64 range become ±2^63), everything else as it is.
 * Numbers of 16-bit floats are rounded to their type by Cast and where they leave the session, and nowhere between:
 * the digits more only bring a result nearer to that of the float32 model.
 * Invariant: an operator sees numbers of these arrays only, never BigInt and never float16 bit patterns.
 */
import { BitloomError } from "../../core/errors.ts";
import type { FeedTensor, TensorData } from "../../core/feeds.ts";
import { unpackCodes } from "../../core/packing.ts";
import {
  type DType,
  elementCount,
  fromBfloat16Bits,
  fromFloat16Bits,
  toBfloat16Bits,
  toFloat16Bits,
} from "../../core/tensor.ts";

export type NumberArray =
  | Float32Array
  | Float64Array
  | Int32Array
  | Uint32Array
  | Int16Array
  | Uint16Array
  | Int8Array
  | Uint8Array;

/** A tensor whose numbers JavaScript can read: in the session's memory, or known before the run. */
export interface HostTensor {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly data: NumberArray;
}

const arrays = {
  float32: Float32Array,
  float16: Float32Array,
  bfloat16: Float32Array,
  float64: Float64Array,
  int64: Float64Array,
  uint64: Float64Array,
  int32: Int32Array,
  uint32: Uint32Array,
  int16: Int16Array,
  uint16: Uint16Array,
  int8: Int8Array,
  uint8: Uint8Array,
  bool: Uint8Array,
  // Sub-byte integers are unpacked, one byte each.
  int4: Int8Array,
  uint4: Uint8Array,
  int2: Int8Array,
  uint2: Uint8Array,
} as const satisfies Partial<Record<DType, unknown>>;

export type StoredType = keyof typeof arrays;

/** False for types that only the fallback can carry: strings, complex numbers, 8-bit floats. */
export const isStored = (dtype: DType | undefined): dtype is StoredType =>
  dtype !== undefined && dtype in arrays;

/** The array type that holds elements of `dtype`. */
export function arrayOf(dtype: DType) {
  if (isStored(dtype)) return arrays[dtype];
  throw new BitloomError(
    "unsupported",
    `The runtime has no storage for tensors of ${dtype}; expected a float, integer or bool type.`,
    { what: `tensors of ${dtype}` },
  );
}

/** Bytes of one element in the session's memory. */
export const elementBytes = (dtype: DType): number => arrayOf(dtype).BYTES_PER_ELEMENT;

/** True for the types that are float32 in memory. */
export const isFloat = (dtype: DType | undefined): boolean =>
  dtype === "float32" || dtype === "float16" || dtype === "bfloat16";

/** A zeroed tensor outside the session's memory. */
export function hostTensor(dtype: DType, shape: readonly number[], data?: NumberArray): HostTensor {
  return { dtype, shape, data: data ?? new (arrayOf(dtype))(elementCount(shape)) };
}

/** What a file or a caller gives, as stored numbers. Float32 and the like are views, not copies. */
export function storedNumbers(
  dtype: DType,
  data: Exclude<TensorData, readonly string[]>,
): NumberArray {
  if (dtype === "float16") return Float32Array.from(asBits(data), fromFloat16Bits);
  if (dtype === "bfloat16") return Float32Array.from(asBits(data), fromBfloat16Bits);
  if (data instanceof BigInt64Array || data instanceof BigUint64Array) {
    const numbers = new Float64Array(data.length);
    for (let i = 0; i < data.length; i++) numbers[i] = Number(data[i]);
    return numbers;
  }
  return data;
}

/** Newer engines hand float16 values over as Float16Array. */
const asBits = (data: ArrayBufferView & { readonly length: number }): Uint16Array =>
  data instanceof Uint16Array ? data : new Uint16Array(data.buffer, data.byteOffset, data.length);

/** The dense little-endian bytes of a tensor in a file, as stored numbers. */
export function numbersOfBytes(
  dtype: DType,
  shape: readonly number[],
  bytes: Uint8Array,
): NumberArray {
  const count = elementCount(shape);
  const bits = subByteBits[dtype];
  if (bits !== undefined) {
    const codes = unpackCodes(bytes, 1, count, bits, count);
    if (dtype.startsWith("u")) return codes;
    const half = 2 ** (bits - 1);
    return Int8Array.from(codes, (code) => (code >= half ? code - 2 * half : code));
  }
  const aligned = bytes.byteOffset % 8 === 0 ? bytes : bytes.slice();
  const { byteOffset } = aligned;
  const buffer = aligned.buffer as ArrayBuffer;
  if (dtype === "float16" || dtype === "bfloat16")
    return storedNumbers(dtype, new Uint16Array(buffer, byteOffset, count));
  if (dtype === "int64") return storedNumbers(dtype, new BigInt64Array(buffer, byteOffset, count));
  if (dtype === "uint64")
    return storedNumbers(dtype, new BigUint64Array(buffer, byteOffset, count));
  return new (arrayOf(dtype))(buffer, byteOffset, count);
}

const subByteBits: Partial<Record<DType, number>> = { int4: 4, uint4: 4, int2: 2, uint2: 2 };

/** Stored numbers as the caller gets them: a copy in the element type's own layout. */
export function feedOf({ dtype, shape, data }: HostTensor): FeedTensor {
  return { dtype, shape: [...shape], data: externalNumbers(dtype, data) };
}

function externalNumbers(dtype: DType, data: NumberArray): TensorData {
  if (dtype === "float16") return Uint16Array.from(data, toFloat16Bits);
  if (dtype === "bfloat16") return Uint16Array.from(data, toBfloat16Bits);
  if (dtype === "int64") return BigInt64Array.from(data as Float64Array, toInt64);
  if (dtype === "uint64") return BigUint64Array.from(data as Float64Array, toUint64);
  // slice() of a view over shared memory would give shared memory.
  return new (arrayOf(dtype))(data);
}

const maxInt64 = 2n ** 63n - 1n;
const toInt64 = (value: number): bigint => {
  if (value >= 2 ** 63) return maxInt64;
  if (value <= -(2 ** 63)) return -maxInt64 - 1n;
  return BigInt(wholeOf(value));
};
const toUint64 = (value: number): bigint => {
  if (value >= 2 ** 64) return 2n ** 64n - 1n;
  return value <= -(2 ** 63) ? 0n : BigInt(wholeOf(value));
};
/** Casts of NaN and divisions by 0 leave it where an integer belongs; 0 as in casts to the shorter integers. */
const wholeOf = (value: number): number => (Number.isNaN(value) ? 0 : Math.trunc(value));
