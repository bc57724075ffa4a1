/**
 * NumPy's .npy format, version 1.0: what other tools read arrays from.
 */

const types: Readonly<Record<string, string>> = {
  float32: "<f4",
  int32: "<i4",
  int64: "<i8",
  bool: "|b1",
};

/** @param data - little-endian, row-major. */
export function npy(dtype: string, shape: readonly number[], data: ArrayBufferView): Uint8Array {
  const type = types[dtype];
  if (!type) throw new Error(`no .npy file of ${dtype}: expected ${Object.keys(types).join(", ")}`);
  const sizes = shape.length === 1 ? `${shape[0]},` : shape.join(", ");
  const text = `{'descr': '${type}', 'fortran_order': False, 'shape': (${sizes}), }`;
  // Magic, version and length take 10 bytes; data begins at a multiple of 64, behind a line feed.
  const length = Math.ceil((10 + text.length + 1) / 64) * 64 - 10;
  const head = Buffer.alloc(10 + length, " ");
  head.set([0x93, ...Buffer.from("NUMPY"), 1, 0, length & 255, length >> 8]);
  head.write(text, 10, "latin1");
  head[10 + length - 1] = 10;
  return Buffer.concat([head, Buffer.from(data.buffer, data.byteOffset, data.byteLength)]);
}
