/**
 * A whole model as one array of bytes.
 */
import { BitloomError } from "../core/errors.ts";
import { inlineLayout } from "./layout.ts";
import { maxMessageBytes } from "./limits.ts";
import { storedModelOf } from "./model.ts";
import { readPiece } from "./piece.ts";
import type { Model } from "./types.ts";

/**
 * Serializes a model with every tensor inline; without edits and external data, the bytes it was opened from.
 *
 * @throws output - above 2 GiB − 1, which protobuf cannot hold.
 *
 * Cost: memory of the result plus one tensor.
 */
export async function encodeModel(model: Model): Promise<Uint8Array<ArrayBuffer>> {
  const { parts, graphParts, from } = storedModelOf(model);
  const piece = inlineLayout(parts, graphParts).model;
  if (piece.byteLength > maxMessageBytes) throw tooLarge(piece.byteLength, from.label);
  const bytes = new Uint8Array(piece.byteLength);
  let position = 0;
  for await (const chunk of readPiece(piece)) {
    bytes.set(chunk, position);
    position += chunk.byteLength;
  }
  return bytes;
}

/** The error for a single file that protobuf cannot hold. */
export function tooLarge(byteLength: number, path: string): BitloomError<"output"> {
  return new BitloomError(
    "output",
    `The model "${path}" takes ${byteLength} bytes in one file; protobuf holds at most ${maxMessageBytes}. Save it with external data.`,
    { path },
  );
}
