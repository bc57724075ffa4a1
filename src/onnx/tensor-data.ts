/**
 * Where the bytes of a TensorProto lie (inline, in a typed field, in an external file) and how to get at them.
 * Invariant: sizes are checked against dims and file when a tensor is decoded; bytes are read only on demand.
 */
import { BitloomError } from "../core/errors.ts";
import { packCodes } from "../core/packing.ts";
import { type DType, dtypeFromCode, dtypes, elementCount, tensorBytes } from "../core/tensor.ts";
import type { ExternalFiles } from "./external.ts";
import { maxRank } from "./limits.ts";
import { entryFields, tensorFields as fields } from "./schema.ts";
import type { ByteSource } from "./source.ts";
import type { TensorSource } from "./types.ts";
import {
  badModel,
  countVarints,
  fixedBytesOf,
  integersOf,
  nameOf,
  readFields,
  requireWireType,
  varintsOf,
  type WireRecord,
} from "./wire.ts";

/** What decoding needs to know about the file around a record. */
export interface FileContext {
  /** For messages. */
  readonly file: string;
  readonly external: ExternalFiles;
}

type Storage =
  | { readonly kind: "raw"; readonly source: ByteSource; readonly offset: number }
  | { readonly kind: "external"; readonly source: ByteSource; readonly offset: number }
  | { readonly kind: "typed"; readonly field: number }
  | { readonly kind: "strings" };

/** A tensor as a file stores it. */
export class StoredTensor implements TensorSource {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** For strings: bytes of the texts themselves. */
  readonly byteLength: number;
  /** The whole TensorProto field, for copying it unread. */
  readonly record: WireRecord;
  readonly #storage: Storage;

  constructor(
    name: string,
    dtype: DType,
    shape: readonly number[],
    byteLength: number,
    record: WireRecord,
    storage: Storage,
  ) {
    this.name = name;
    this.dtype = dtype;
    this.shape = shape;
    this.byteLength = byteLength;
    this.record = record;
    this.#storage = storage;
  }

  get isExternal(): boolean {
    return this.#storage.kind === "external";
  }

  /** Where the dense bytes lie, when they can be copied without conversion. */
  get range():
    | { readonly source: ByteSource; readonly start: number; readonly end: number }
    | undefined {
    if (this.#storage.kind !== "raw" && this.#storage.kind !== "external") return undefined;
    const { source, offset } = this.#storage;
    return { source, start: offset, end: offset + this.byteLength };
  }

  /**
   * A fresh copy of the dense little-endian bytes.
   *
   * Throws: unsupported - strings; bad-model - the file changed or ends early.
   */
  async bytes(): Promise<Uint8Array> {
    const storage = this.#storage;
    if (storage.kind === "strings") {
      throw new BitloomError(
        "unsupported",
        `Tensor "${this.name}" holds strings, which have no dense bytes. Only numeric tensors can be read.`,
        { what: "bytes of a string tensor", node: this.name },
      );
    }
    if (storage.kind === "typed") return this.#convert(storage.field);
    return storage.source.copy(storage.offset, this.byteLength);
  }

  #convert(field: number): Uint8Array {
    if (dtypes[this.dtype].bits === 6) return this.#packSixBits(field);
    const bytes = new Uint8Array(this.byteLength);
    const width = entryBytes(this.dtype);
    const fixed = field === fields.floatData || field === fields.doubleData;
    let position = 0;
    for (const record of readFields(this.record)) {
      if (record.field !== field) continue;
      if (fixed) {
        const content = fixedBytesOf(record, field === fields.floatData ? 4 : 8);
        bytes.set(content, position);
        position += content.length;
        continue;
      }
      for (const { low, high } of varintsOf(record)) {
        for (let i = 0; i < width; i++) {
          bytes[position + i] = i < 4 ? low >>> (8 * i) : high >>> (8 * (i - 4));
        }
        position += width;
      }
    }
    return bytes;
  }

  /** 6-bit floats take an entry each in int32_data, but are dense (four in three bytes) everywhere else. */
  #packSixBits(field: number): Uint8Array {
    const codes = new Uint8Array(elementCount(this.shape));
    let position = 0;
    for (const record of readFields(this.record)) {
      if (record.field !== field) continue;
      for (const { low } of varintsOf(record)) codes[position++] = low & 63;
    }
    return packCodes(codes, 1, codes.length, 6, Math.max(1, codes.length));
  }
}

/** Bytes that one entry of int32_data, int64_data or uint64_data stands for; sub-byte codes come a byte per entry. */
function entryBytes(dtype: DType): number {
  return Math.max(1, dtypes[dtype].bits / 8);
}

/** The typed field in which a dtype may be stored, by onnx.proto. */
function typedField(dtype: DType): number {
  if (dtype === "float32" || dtype === "complex64") return fields.floatData;
  if (dtype === "float64" || dtype === "complex128") return fields.doubleData;
  if (dtype === "int64") return fields.int64Data;
  if (dtype === "uint32" || dtype === "uint64") return fields.uint64Data;
  return fields.int32Data;
}

const typedFields: readonly number[] = [
  fields.floatData,
  fields.int32Data,
  fields.stringData,
  fields.int64Data,
  fields.doubleData,
  fields.uint64Data,
];

/**
 * Decodes a TensorProto without reading its data.
 *
 * @throws bad-model - unknown type, bad dims, data that does not fit dims or lies outside its file.
 */
export function decodeTensor(record: WireRecord, context: FileContext): StoredTensor {
  requireWireType(record, 2);
  let name = "";
  let code = 0;
  const shape: number[] = [];
  let raw: WireRecord | undefined;
  let isExternal = false;
  let hasSegment = false;
  const entries = new Map<string, string>();
  const typed = new Map<number, number>();

  for (const child of readFields(record)) {
    if (child.field === fields.name) name = nameOf(child);
    else if (child.field === fields.dataType) code = child.value;
    else if (child.field === fields.dims) {
      for (const dim of integersOf(child)) {
        shape.push(dim);
        if (shape.length > maxRank) throw broken(`more than ${maxRank} dims`);
      }
    } else if (child.field === fields.rawData) {
      requireWireType(child, 2);
      raw = child;
    } else if (child.field === fields.externalData) readEntry(child, entries);
    else if (child.field === fields.dataLocation) isExternal = child.value === 1;
    else if (child.field === fields.segment) hasSegment = true;
    else if (typedFields.includes(child.field)) {
      typed.set(child.field, (typed.get(child.field) ?? 0) + typedBytes(child));
    }
  }

  function broken(problem: string): BitloomError<"bad-model"> {
    const where = name === "" ? `byte ${record.start}` : `tensor "${name}"`;
    const message = `The tensor "${name}" of "${context.file}" is damaged: ${problem}. Export the model again.`;
    return badModel(context.file, message, where);
  }

  const dtype = dtypeFromCode(code);
  if (dtype === undefined) throw broken(`unknown data type number ${code}`);
  const bad = shape.find((dim) => dim < 0 || !Number.isSafeInteger(dim));
  if (bad !== undefined) throw broken(`expected dims of 0 or more, got ${bad}`);
  // In bits, so that the byte count below is an exact integer too; complex128 has the most.
  if (!Number.isSafeInteger(elementCount(shape) * 128)) {
    throw broken(`its dims [${shape.join(", ")}] have more elements than can be counted`);
  }
  if (hasSegment) throw broken("its data is cut into segments, which no reader supports");
  const byteLength = tensorBytes(dtype, shape);

  if (isExternal) {
    if (dtype === "string") throw broken("strings cannot be external");
    const { source, offset } = openExternal(entries, byteLength);
    return new StoredTensor(name, dtype, shape, byteLength, record, {
      kind: "external",
      source,
      offset,
    });
  }
  if (dtype === "string") {
    const texts = countTexts();
    if (texts.count !== elementCount(shape)) {
      throw broken(`expected ${elementCount(shape)} strings, got ${texts.count}`);
    }
    return new StoredTensor(name, dtype, shape, texts.bytes, record, { kind: "strings" });
  }
  const filled = [...typed].filter(([, bytes]) => bytes > 0);
  if (filled.length + (raw && raw.end > raw.payload ? 1 : 0) > 1) {
    throw broken("its data is stored twice, in different fields");
  }
  if (filled.length === 1) {
    const [field, stored] = filled[0];
    if (field !== typedField(dtype)) throw broken(`its data is not in the field for ${dtype}`);
    if (dtypes[dtype].bits === 6) {
      if (stored !== elementCount(shape)) {
        throw broken(`expected ${elementCount(shape)} entries for ${dtype}, got ${stored}`);
      }
    } else {
      const fixed = field === fields.floatData || field === fields.doubleData;
      requireLength(stored * (fixed ? 1 : entryBytes(dtype)));
    }
    return new StoredTensor(name, dtype, shape, byteLength, record, { kind: "typed", field });
  }
  requireLength(raw ? raw.end - raw.payload : 0);
  const offset = raw ? raw.payload : record.end;
  return new StoredTensor(name, dtype, shape, byteLength, record, {
    kind: "raw",
    source: record.source,
    offset,
  });

  function requireLength(got: number): void {
    if (got === byteLength) return;
    throw broken(`expected ${byteLength} bytes for ${dtype} [${shape.join(", ")}], got ${got}`);
  }

  function countTexts(): { count: number; bytes: number } {
    let count = 0;
    let bytes = 0;
    for (const child of readFields(record)) {
      if (child.field !== fields.stringData) continue;
      count++;
      bytes += child.end - child.payload;
    }
    return { count, bytes };
  }

  function openExternal(
    keys: ReadonlyMap<string, string>,
    expected: number,
  ): { source: ByteSource; offset: number } {
    const number = (key: string, fallback: number): number => {
      const text = keys.get(key);
      if (text === undefined) return fallback;
      const parsed = Number(text);
      if (/^\d+$/.test(text) && Number.isSafeInteger(parsed)) return parsed;
      throw broken(`its external ${key} is "${text}", no byte count`);
    };
    const location = keys.get("location");
    if (location === undefined) throw broken("its data is external, but no location is given");
    const offset = number("offset", 0);
    requireLength(number("length", expected));
    const source = context.external.open(location, name);
    if (offset + expected > source.size) {
      throw broken(
        `its bytes ${offset} to ${offset + expected} lie beyond "${location}", which has ${source.size} bytes`,
      );
    }
    return { source, offset };
  }
}

/** Stored size of one record of a typed field: bytes for fixed widths, entries for varints. */
function typedBytes(record: WireRecord): number {
  if (record.field === fields.floatData) return fixedLength(record, 4);
  if (record.field === fields.doubleData) return fixedLength(record, 8);
  if (record.field === fields.stringData) return 1;
  return countVarints(record);
}

function fixedLength(record: WireRecord, width: 4 | 8): number {
  if (record.wireType !== 2) requireWireType(record, width === 4 ? 5 : 1);
  return record.end - record.payload;
}

/** Reads a StringStringEntryProto into `entries`. */
export function readEntry(record: WireRecord, entries: Map<string, string>): void {
  let key = "";
  let value = "";
  for (const child of readFields(record)) {
    if (child.field === entryFields.key) key = nameOf(child);
    else if (child.field === entryFields.value) value = nameOf(child);
  }
  entries.set(key, value);
}
