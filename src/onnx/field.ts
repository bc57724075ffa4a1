/**
 * The smallest pieces of a message: one integer, one text, one key-value entry.
 */
import { bytesPiece, concat, type Piece } from "./piece.ts";
import { entryFields } from "./schema.ts";
import { WireWriter } from "./wire-writer.ts";

/** The bytes that `fill` writes. */
export function write(fill: (writer: WireWriter) => void): Piece {
  const writer = new WireWriter();
  fill(writer);
  return bytesPiece(writer.finish());
}

/** A signed 64-bit integer field; doubles at or beyond ±2^63 stand for the ends of the range. */
export function intField(field: number, value: number): Piece {
  return write((writer) => writer.tag(field, 0).int64(value));
}

export function textField(field: number, text: string): Piece {
  return write((writer) => writer.tag(field, 2).string(text));
}

/** The content of a StringStringEntryProto. */
export function entryContent(key: string, value: string): Piece {
  return concat([textField(entryFields.key, key), textField(entryFields.value, value)]);
}
