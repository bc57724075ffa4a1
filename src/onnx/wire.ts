/**
 * The protobuf wire format as an index of byte ranges: which field lies where, without reading payloads.
 * Not here: the meaning of fields (`schema.ts`). Invariant: every record lies inside its parent and the file.
 */
import { BitloomError } from "../core/errors.ts";
import { maxNameBytes, maxTextBytes } from "./limits.ts";
import type { ByteSource } from "./source.ts";

export interface ByteRange {
  readonly source: ByteSource;
  readonly start: number;
  readonly end: number;
}

/** One field of a message: `[start, end)` includes its tag, `[payload, end)` is the content. */
export interface WireRecord extends ByteRange {
  readonly field: number;
  /** 0 varint, 1 eight bytes, 2 length-delimited, 5 four bytes. */
  readonly wireType: number;
  readonly payload: number;
  /** The varint as a signed 64-bit integer, rounded to double beyond 2^53; 0 for other wire types. */
  readonly value: number;
}

const maxVarintBytes = 10;
const lookAheadBytes = 4096;
const countChunkBytes = 1 << 20;

/** A failure while reading a file, with the grammar of all `bad-model` messages. */
export function badModel(file: string, message: string, where?: string): BitloomError<"bad-model"> {
  return new BitloomError("bad-model", message, where === undefined ? { file } : { file, where });
}

/**
 * Walks the fields of one message in file order.
 *
 * @param start - first byte of the message's content; `end` is one past its last.
 *
 * Cost: O(fields) time; payloads of length-delimited fields are skipped, not read.
 * Throws: bad-model - malformed tags, varints or lengths, groups.
 */
export function* readRecords(
  source: ByteSource,
  start: number,
  end: number,
): Generator<WireRecord> {
  let window: Uint8Array = new Uint8Array(0);
  let windowStart = start;
  let position = start;

  while (position < end) {
    const needed = Math.min(position + 2 * maxVarintBytes, end);
    if (needed > windowStart + window.length) {
      windowStart = position;
      window = source.read(position, Math.min(lookAheadBytes, end - position));
    }
    const tagStart = position;
    const tag = readVarint(window, position - windowStart);
    if (tag === undefined) throw malformed(source, tagStart, "an unfinished varint");
    const key = tag.low;
    const field = key >>> 3;
    const wireType = key & 7;
    if (tag.high !== 0 || field === 0)
      throw malformed(source, tagStart, "field number 0 or above 2^29");
    const payload = tagStart + tag.length;
    if (wireType === 0 || wireType === 2) {
      const number = readVarint(window, payload - windowStart);
      if (number === undefined) throw malformed(source, payload, "an unfinished varint");
      const value = number.high * 2 ** 32 + number.low;
      const after = payload + number.length;
      if (wireType === 0) {
        position = after;
        yield { source, field, wireType, start: tagStart, payload, end: after, value };
      } else {
        if (value < 0 || value > end - after) throw overrun(source, payload, value, end - after);
        position = after + value;
        yield { source, field, wireType, start: tagStart, payload: after, end: position, value: 0 };
      }
    } else if (wireType === 1 || wireType === 5) {
      const bytes = wireType === 1 ? 8 : 4;
      if (bytes > end - payload) throw overrun(source, payload, bytes, end - payload);
      position = payload + bytes;
      yield { source, field, wireType, start: tagStart, payload, end: position, value: 0 };
    } else {
      throw malformed(source, tagStart, `wire type ${wireType}, which no ONNX file uses`);
    }
  }
}

/** The fields inside a length-delimited record. */
export function readFields(record: WireRecord): Generator<WireRecord> {
  return readRecords(record.source, record.payload, record.end);
}

/** A varint as two 32-bit halves: `low` unsigned, `high` signed; undefined when it does not end in time. */
export function readVarint(
  bytes: Uint8Array,
  offset: number,
): { low: number; high: number; length: number } | undefined {
  let low = 0;
  let high = 0;
  for (let i = 0; i < maxVarintBytes; i++) {
    if (offset + i >= bytes.length) return undefined;
    const byte = bytes[offset + i];
    const bits = byte & 0x7f;
    if (i < 4) low |= bits << (7 * i);
    else if (i === 4) {
      low |= bits << 28;
      high |= bits >>> 4;
    } else high |= bits << (7 * i - 32);
    if (byte < 0x80) return { low: low >>> 0, high, length: i + 1 };
  }
  return undefined;
}

/** Content of a length-delimited record; the caller must not modify it. */
export function contentOf(record: WireRecord): Uint8Array {
  requireWireType(record, 2);
  return record.source.read(record.payload, record.end - record.payload);
}

const decoder = new TextDecoder();

/** A string field that names something. */
export function nameOf(record: WireRecord): string {
  return textOf(record, maxNameBytes);
}

/** A string field of any sensible length; invalid UTF-8 becomes U+FFFD in this view only. */
export function textOf(record: WireRecord, limit = maxTextBytes): string {
  const length = record.end - record.payload;
  if (length > limit) {
    const where = `byte ${record.start}`;
    const message = `"${record.source.label}" holds a text of ${length} bytes at ${where}; at most ${limit} are read. The file is damaged.`;
    throw badModel(record.source.label, message, where);
  }
  return decoder.decode(contentOf(record));
}

/** Varints of a repeated integer field, packed or not, as signed 64-bit halves. */
export function* varintsOf(record: WireRecord): Generator<{ low: number; high: number }> {
  if (record.wireType === 0) {
    const bytes = record.source.read(record.payload, record.end - record.payload);
    const number = readVarint(bytes, 0);
    if (number) yield number;
    return;
  }
  requireWireType(record, 2);
  let position = record.payload;
  while (position < record.end) {
    const bytes = record.source.read(position, Math.min(lookAheadBytes, record.end - position));
    let used = 0;
    for (;;) {
      const number = readVarint(bytes, used);
      if (number === undefined) break;
      used += number.length;
      yield number;
      if (used === bytes.length) break;
    }
    if (used === 0) throw malformed(record.source, position, "an unfinished varint");
    position += used;
  }
}

/** How many integers a repeated field holds in this record: every varint ends with a byte below 128. */
export function countVarints(record: WireRecord): number {
  if (record.wireType === 0) return 1;
  requireWireType(record, 2);
  let count = 0;
  for (let position = record.payload; position < record.end; position += countChunkBytes) {
    const length = Math.min(countChunkBytes, record.end - position);
    for (const byte of record.source.read(position, length)) if (byte < 0x80) count++;
  }
  return count;
}

/** Integers of a repeated field, rounded to double beyond 2^53. */
export function* integersOf(record: WireRecord): Generator<number> {
  for (const { low, high } of varintsOf(record)) yield high * 2 ** 32 + low;
}

/** Payload of a repeated fixed-width field: packed, or a single value. */
export function fixedBytesOf(record: WireRecord, width: 4 | 8): Uint8Array {
  if (record.wireType !== 2) requireWireType(record, width === 4 ? 5 : 1);
  const length = record.end - record.payload;
  if (length % width !== 0) {
    throw malformed(
      record.source,
      record.payload,
      `${length} bytes where a multiple of ${width} belongs`,
    );
  }
  return record.source.read(record.payload, length);
}

export function requireWireType(record: WireRecord, wireType: number): void {
  if (record.wireType === wireType) return;
  const found = `field ${record.field} with wire type ${record.wireType} instead of ${wireType}`;
  throw malformed(record.source, record.start, found);
}

function malformed(source: ByteSource, offset: number, found: string): BitloomError {
  const where = `byte ${offset}`;
  const message = `"${source.label}" is no readable ONNX model: ${found} at ${where}. Check that it is an .onnx file and complete.`;
  return badModel(source.label, message, where);
}

function overrun(source: ByteSource, offset: number, length: number, left: number): BitloomError {
  const found = `a field of ${length} bytes where ${left} are left (truncated?)`;
  return malformed(source, offset, found);
}
