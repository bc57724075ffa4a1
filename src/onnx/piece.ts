/**
 * Bytes to be written later: a list of file ranges, small arrays and tensors that are asked for one at a time.
 * Invariant: `byteLength` is known before anything is read, because protobuf writes lengths in front.
 */
import { BitloomError, invariant } from "../core/errors.ts";
import type { ByteSource } from "./source.ts";
import { StoredTensor } from "./tensor-data.ts";
import type { TensorSource } from "./types.ts";
import type { ByteRange } from "./wire.ts";
import { WireWriter } from "./wire-writer.ts";

export type Chunk =
  | { readonly kind: "bytes"; readonly bytes: Uint8Array }
  | {
      readonly kind: "range";
      readonly source: ByteSource;
      readonly start: number;
      readonly end: number;
    }
  | { readonly kind: "tensor"; readonly tensor: TensorSource };

export interface Piece {
  readonly byteLength: number;
  readonly chunks: readonly Chunk[];
}

export const emptyPiece: Piece = { byteLength: 0, chunks: [] };

export function bytesPiece(bytes: Uint8Array): Piece {
  return { byteLength: bytes.byteLength, chunks: [{ kind: "bytes", bytes }] };
}

export function rangePiece(range: ByteRange): Piece {
  const { source, start, end } = range;
  return { byteLength: end - start, chunks: [{ kind: "range", source, start, end }] };
}

/** The dense bytes of a tensor: copied from where they lie if possible, else asked for when written. */
export function tensorPiece(tensor: TensorSource): Piece {
  const range = tensor instanceof StoredTensor ? tensor.range : undefined;
  if (range) return rangePiece(range);
  return { byteLength: tensor.byteLength, chunks: [{ kind: "tensor", tensor }] };
}

/** Joins pieces; neighbouring ranges of one file become one range, so that they are read at once. */
export function concat(pieces: Iterable<Piece>): Piece {
  const chunks: Chunk[] = [];
  let byteLength = 0;
  for (const piece of pieces) {
    byteLength += piece.byteLength;
    for (const chunk of piece.chunks) {
      const last = chunks.at(-1);
      if (
        chunk.kind === "range" &&
        last?.kind === "range" &&
        last.source === chunk.source &&
        last.end === chunk.start
      ) {
        chunks[chunks.length - 1] = { ...last, end: chunk.end };
      } else chunks.push(chunk);
    }
  }
  return { byteLength, chunks };
}

/** A length-delimited field around a piece. */
export function messageField(field: number, content: Piece): Piece {
  const header = new WireWriter().tag(field, 2).int64(content.byteLength);
  return concat([bytesPiece(header.finish()), content]);
}

/** The bytes of a piece that holds neither file ranges nor tensors. */
export function joinBytes(piece: Piece): Uint8Array {
  const joined = new Uint8Array(piece.byteLength);
  let position = 0;
  for (const chunk of piece.chunks) {
    invariant(chunk.kind === "bytes", "only small, new messages are joined");
    joined.set(chunk.bytes, position);
    position += chunk.bytes.byteLength;
  }
  return joined;
}

const copyBytes = 4 << 20;

/**
 * Hands out the bytes of a piece in order, at most one tensor at a time in memory.
 *
 * @throws output - a tensor gives another number of bytes than it announced; and whatever its `bytes()` throws.
 */
export async function* readPiece(piece: Piece): AsyncGenerator<Uint8Array> {
  for (const chunk of piece.chunks) {
    if (chunk.kind === "bytes") yield chunk.bytes;
    else if (chunk.kind === "range") {
      for (let at = chunk.start; at < chunk.end; at += copyBytes) {
        yield chunk.source.read(at, Math.min(copyBytes, chunk.end - at));
      }
    } else {
      const { tensor } = chunk;
      const bytes = await tensor.bytes();
      if (bytes.byteLength !== tensor.byteLength) {
        throw new BitloomError(
          "output",
          `Tensor "${tensor.name}" gave ${bytes.byteLength} bytes, expected ${tensor.byteLength} for ${tensor.dtype} [${tensor.shape.join(", ")}]. Fix the tensor's source.`,
          { path: tensor.name },
        );
      }
      yield bytes;
    }
  }
}
