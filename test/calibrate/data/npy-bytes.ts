/**
 * Writes .npy bytes for tests.
 */
import { bytesOf } from "../../../src/core/tensor.ts";

export function npyBytes(
  dtype: string,
  shape: readonly number[],
  data: ArrayBufferView,
  options: { version?: number; fortran?: boolean; descr?: string } = {},
): Uint8Array {
  const { version = 1, fortran = false, descr = `'${dtype}'` } = options;
  const dims = `(${shape.join(", ")}${shape.length === 1 ? "," : ""})`;
  const order = fortran ? "True" : "False";
  const header = `{'descr': ${descr}, 'fortran_order': ${order}, 'shape': ${dims}, }\n`;
  const length = version === 1 ? 2 : 4;
  const bytes = new Uint8Array(8 + length + header.length + data.byteLength);
  bytes.set([0x93, ...new TextEncoder().encode("NUMPY"), version, 0]);
  const view = new DataView(bytes.buffer);
  if (version === 1) view.setUint16(8, header.length, true);
  else view.setUint32(8, header.length, true);
  bytes.set(new TextEncoder().encode(header), 8 + length);
  bytes.set(bytesOf(data), 8 + length + header.length);
  return bytes;
}
