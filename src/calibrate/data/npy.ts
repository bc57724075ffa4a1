/**
 * Reads NumPy's .npy files (versions 1 to 3): numbers and booleans, little-endian, C or Fortran order.
 * Not here: .npz archives, structured or big-endian types; they are refused by name.
 * Invariant: the header's size and the file's size must agree to the byte.
 */
import { readFile } from "node:fs/promises";
import { BitloomError } from "../../core/errors.ts";
import { dtypes, elementCount } from "../../core/tensor.ts";
import { createFeedData, type FeedDType, type NumericFeed } from "./feeds.ts";

const dtypeOf: Readonly<Record<string, FeedDType>> = {
  "<f2": "float16",
  "<f4": "float32",
  "<f8": "float64",
  "|i1": "int8",
  "<i2": "int16",
  "<i4": "int32",
  "<i8": "int64",
  "|u1": "uint8",
  "<u2": "uint16",
  "<u4": "uint32",
  "<u8": "uint64",
  "|b1": "bool",
};

/** NumPy itself refuses longer headers as unsafe to parse (max_header_size). */
const maxHeaderBytes = 10_000;

/** Reads a .npy file. @throws bad-data - unreadable, or as `parseNpy`. */
export async function readNpy(path: string): Promise<NumericFeed> {
  let bytes: Uint8Array;
  try {
    bytes = await readFile(path);
  } catch (cause) {
    const got = (cause as NodeJS.ErrnoException).code ?? String(cause);
    throw badNpy(path, "a readable file", got, cause);
  }
  return parseNpy(bytes, path);
}

/**
 * Decodes the bytes of a .npy file.
 *
 * @param file - name for messages.
 * @returns a copy in C order, element type as stored.
 *
 * Source: numpy.lib.format, format versions 1.0, 2.0, 3.0.
 *
 * @throws bad-data - no .npy file, an element type outside the list above, or sizes that disagree.
 */
export function parseNpy(bytes: Uint8Array, file: string): NumericFeed {
  const { header, start } = readHeader(bytes, file);
  const descr = field(header, /'descr'\s*:\s*'([^']*)'/, file, "a plain element type");
  const order = field(header, /'fortran_order'\s*:\s*(True|False)/, file, "fortran_order");
  const dims = field(header, /'shape'\s*:\s*\(([\d\s,L]*)\)/, file, "a shape");
  const shape = (dims.match(/\d+/g) ?? []).map(Number);
  if (!Object.hasOwn(dtypeOf, descr)) {
    const known = Object.keys(dtypeOf).join(", ");
    throw badNpy(file, `an element type of ${known}`, `"${descr}"`);
  }
  const dtype = dtypeOf[descr];
  const count = elementCount(shape);
  const expected = count * (dtypes[dtype].bits / 8);
  if (expected !== bytes.length - start) {
    const size = `${expected} bytes for ${descr} [${shape.join(", ")}]`;
    throw badNpy(file, size, `${bytes.length - start} bytes`);
  }
  const data = createFeedData(dtype, count);
  new Uint8Array(data.buffer).set(bytes.subarray(start));
  const stored: NumericFeed = { dtype, shape, data };
  return order === "True" ? fromFortranOrder(stored) : stored;
}

function readHeader(bytes: Uint8Array, file: string): { header: string; start: number } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 10 || String.fromCharCode(...bytes.subarray(0, 6)) !== "\x93NUMPY") {
    throw badNpy(file, "the NumPy signature", `${bytes.length} other bytes`);
  }
  const version = bytes[6];
  if (version < 1 || version > 3 || (version > 1 && bytes.length < 12)) {
    throw badNpy(file, "format version 1, 2 or 3", `${version}.${bytes[7]}`);
  }
  const length = version === 1 ? view.getUint16(8, true) : view.getUint32(8, true);
  const first = version === 1 ? 10 : 12;
  if (length > maxHeaderBytes || first + length > bytes.length) {
    throw badNpy(file, `a header of at most ${maxHeaderBytes} bytes`, `${length} bytes`);
  }
  const header = new TextDecoder().decode(bytes.subarray(first, first + length));
  return { header, start: first + length };
}

function field(header: string, pattern: RegExp, file: string, what: string): string {
  const match = pattern.exec(header);
  if (!match) throw badNpy(file, what, header.trim());
  return match[1];
}

/** Fortran order counts the first axis fastest: element (i0, i1, …) is at Σ i_a · Π_{b<a} shape_b. */
function fromFortranOrder(tensor: NumericFeed): NumericFeed {
  const { shape, dtype } = tensor;
  const source = tensor.data;
  const data = createFeedData(dtype, source.length);
  const strides = shape.map((_, axis) => elementCount(shape.slice(0, axis)));
  const position = shape.map(() => 0);
  let from = 0;
  for (let to = 0; to < data.length; to++) {
    data[to] = source[from];
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      from += strides[axis];
      if (++position[axis] < shape[axis]) break;
      from -= strides[axis] * shape[axis];
      position[axis] = 0;
    }
  }
  return { dtype, shape, data };
}

function badNpy(file: string, expected: string, got: string, cause?: unknown): BitloomError {
  return new BitloomError(
    "bad-data",
    `Cannot read "${file}": expected ${expected}, got ${got}. Save it with numpy.save as a plain little-endian array.`,
    { input: file, expected, got },
    { cause },
  );
}
