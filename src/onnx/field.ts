/**
 * The smallest pieces of a message: one integer, one text, one key-value entry.
 */
import protobuf from "protobufjs/minimal.js";
import { bytesPiece, concat, type Piece } from "./piece.ts";
import { entryFields } from "./schema.ts";

/** The bytes that `fill` writes. */
export function write(fill: (writer: protobuf.Writer) => void): Piece {
  const writer = protobuf.Writer.create();
  fill(writer);
  return bytesPiece(writer.finish());
}

/** A signed 64-bit integer field. */
export function intField(field: number, value: number): Piece {
  return write((writer) => writer.uint32(field << 3).int64(saturated(value)));
}

export function textField(field: number, text: string): Piece {
  return write((writer) => writer.uint32((field << 3) | 2).string(text));
}

/** The content of a StringStringEntryProto. */
export function entryContent(key: string, value: string): Piece {
  return concat([textField(entryFields.key, key), textField(entryFields.value, value)]);
}

/** Doubles at or beyond ±2^63 stand for the ends of the int64 range ("to the end" in Slice). */
export function saturated(value: number): number | protobuf.Long {
  if (value >= 2 ** 63) return { low: -1, high: 0x7fffffff, unsigned: false };
  if (value < -(2 ** 63)) return { low: 0, high: -0x80000000, unsigned: false };
  return value;
}
