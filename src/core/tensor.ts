/**
 * Element types, dense matrices and the conversions between float32 and the 16-bit floats.
 * Not here: reading tensors from a file (`onnx/`). Invariant: a `Matrix` is dense, row-major float32.
 */

/** Every element type of the ONNX IR (version 14), by its `TensorProto.DataType` number and storage width. */
export const dtypes = {
  float32: { code: 1, bits: 32 },
  uint8: { code: 2, bits: 8 },
  int8: { code: 3, bits: 8 },
  uint16: { code: 4, bits: 16 },
  int16: { code: 5, bits: 16 },
  int32: { code: 6, bits: 32 },
  int64: { code: 7, bits: 64 },
  string: { code: 8, bits: 0 },
  bool: { code: 9, bits: 8 },
  float16: { code: 10, bits: 16 },
  float64: { code: 11, bits: 64 },
  uint32: { code: 12, bits: 32 },
  uint64: { code: 13, bits: 64 },
  complex64: { code: 14, bits: 64 },
  complex128: { code: 15, bits: 128 },
  bfloat16: { code: 16, bits: 16 },
  float8e4m3fn: { code: 17, bits: 8 },
  float8e4m3fnuz: { code: 18, bits: 8 },
  float8e5m2: { code: 19, bits: 8 },
  float8e5m2fnuz: { code: 20, bits: 8 },
  uint4: { code: 21, bits: 4 },
  int4: { code: 22, bits: 4 },
  float4e2m1: { code: 23, bits: 4 },
  float8e8m0: { code: 24, bits: 8 },
  uint2: { code: 25, bits: 2 },
  int2: { code: 26, bits: 2 },
  float6e2m3: { code: 27, bits: 6 },
  float6e3m2: { code: 28, bits: 6 },
} as const satisfies Record<string, { readonly code: number; readonly bits: number }>;

/** Element type of a tensor. */
export type DType = keyof typeof dtypes;

const byCode = new Map<number, DType>(
  Object.entries(dtypes).map(([name, { code }]) => [code, name as DType]),
);

/** The element type with this `TensorProto.DataType` number, or undefined when the IR has none. */
export function dtypeFromCode(code: number): DType | undefined {
  return byCode.get(code);
}

/** Number of elements of a shape; 1 for a scalar. */
export function elementCount(shape: readonly number[]): number {
  return shape.reduce((count, dim) => count * dim, 1);
}

/** Bytes of a dense tensor; sub-byte types are packed over the whole tensor and rounded up once. */
export function tensorBytes(dtype: DType, shape: readonly number[]): number {
  return Math.ceil((elementCount(shape) * dtypes[dtype].bits) / 8);
}

/** Dense float32 matrix, row-major: element (r, c) is `data[r * cols + c]`. */
export interface Matrix {
  readonly rows: number;
  readonly cols: number;
  readonly data: Float32Array;
}

/** Rows and columns swapped: a copy, [cols, rows]. */
export function transposed({ rows, cols, data }: Matrix): Matrix {
  const result = new Float32Array(data.length);
  // Tile by tile, so that neither side leaves the cache.
  const tile = 32;
  for (let row = 0; row < rows; row += tile) {
    const lastRow = Math.min(row + tile, rows);
    for (let col = 0; col < cols; col += tile) {
      const lastCol = Math.min(col + tile, cols);
      for (let r = row; r < lastRow; r++)
        for (let c = col; c < lastCol; c++) result[c * rows + r] = data[r * cols + c];
    }
  }
  return { rows: cols, cols: rows, data: result };
}

const f32 = new Float32Array(1);
const u32 = new Uint32Array(f32.buffer);

/** float32 value → float16 bit pattern, round to nearest even; overflow gives ±infinity. */
export function toFloat16Bits(value: number): number {
  f32[0] = value;
  const bits = u32[0];
  const sign = (bits >>> 16) & 0x8000;
  const abs = bits & 0x7fffffff;
  if (abs >= 0x7f800000) return sign | (abs > 0x7f800000 ? 0x7e00 : 0x7c00);
  if (abs >= 0x477ff000) return sign | 0x7c00;
  if (abs < 0x38800000) {
    // Subnormal: the float adder rounds for us at the spacing of 2^-24.
    f32[0] = Math.abs(value) + 0.5;
    return sign | (u32[0] - 0x3f000000);
  }
  const rounded = abs + 0xfff + ((abs >>> 13) & 1);
  return sign | ((rounded - 0x38000000) >>> 13);
}

/** float16 bit pattern → value (exact). */
export function fromFloat16Bits(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >>> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** float32 value → bfloat16 bit pattern, round to nearest even. */
export function toBfloat16Bits(value: number): number {
  f32[0] = value;
  const bits = u32[0];
  if ((bits & 0x7fffffff) > 0x7f800000) return (bits >>> 16) | 0x40;
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}

/** The float16 value nearest to `value`. */
export function roundToFloat16(value: number): number {
  return fromFloat16Bits(toFloat16Bits(value));
}

/** bfloat16 bit pattern → value (exact). */
export function fromBfloat16Bits(bits: number): number {
  u32[0] = bits << 16;
  return f32[0];
}

/**
 * Widens a dense float tensor to float32.
 *
 * @param bytes - little-endian elements, any alignment.
 * @returns float32 copy; exact for float16 and bfloat16.
 */
export function toFloat32(
  dtype: "float32" | "float16" | "bfloat16",
  bytes: Uint8Array,
): Float32Array {
  const copy = bytes.slice();
  if (dtype === "float32") return new Float32Array(copy.buffer, 0, copy.byteLength / 4);
  const words = new Uint16Array(copy.buffer, 0, copy.byteLength / 2);
  const widen = dtype === "float16" ? fromFloat16Bits : fromBfloat16Bits;
  return Float32Array.from(words, widen);
}

/** The little-endian bytes of a typed array, without copying. */
export function bytesOf(array: ArrayBufferView): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}
