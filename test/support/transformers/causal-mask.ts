/**
 * The additive attention mask [batch, 1, sequence, total] of decoder exports, in the two forms that transformers has
 * written: "less" (until 4.37: Range, Less, Where, past columns concatenated) and "triangle" (since: Trilu, Greater,
 * the padding written into place by ScatterND). Rows of padding differ between the forms, rows of tokens do not.
 */
import { attribute } from "../../../src/onnx/index.ts";
import type { TransformerFloat } from "./config.ts";
import type { GraphWriter } from "./graph-writer.ts";
import {
  castTo,
  expand,
  range,
  reshape,
  type Size,
  shapeFrom,
  sizeOf,
  slice,
  unsqueeze,
} from "./torch-shapes.ts";

export interface MaskSizes {
  readonly batch: Size;
  readonly sequence: Size;
  /** Tokens in the cache; undefined: there is none. */
  readonly past: string | undefined;
  /** past + sequence. */
  readonly total: Size;
}

/** The most negative finite number. */
export const lowest = { float32: -3.4028234663852886e38, float16: -65504 } as const;

/** [batch, total] of 0 and 1 → [batch, 1, 1, total]. */
function broadcastRow(writer: GraphWriter, attentionMask: string): string {
  return unsqueeze(writer, unsqueeze(writer, attentionMask, 1), 2);
}

/** Form "less". */
export function lessMask(writer: GraphWriter, sizes: MaskSizes, dtype: TransformerFloat): string {
  const { batch, sequence, past, total } = sizes;
  const masked = expand(writer, writer.float(lowest[dtype], dtype), [sequence, sequence]);
  const columns = range(writer, 0, sequence);
  const next = writer.op("Add", [columns, writer.int(1)]);
  const allowed = writer.op("Less", [columns, reshape(writer, next, [sequence, 1])]);
  const zero = writer.float(0, dtype);
  let causal = writer.op("Where", [allowed, zero, masked]);
  if (past !== undefined) {
    const before = expand(writer, zero, [sequence, past]);
    causal = writer.op("Concat", [before, causal], { axis: attribute.int(-1) });
  }
  const square = unsqueeze(writer, unsqueeze(writer, causal, 0), 1);
  const shared = expand(writer, square, [batch, 1, sequence, total]);
  const row = expand(writer, broadcastRow(writer, "attention_mask"), [batch, 1, sequence, total]);
  const padding = writer.op("Sub", [
    writer.float(1, dtype),
    writer.op("Cast", [row], { to: castTo[dtype] }),
  ]);
  const isPadding = writer.op("Cast", [padding], { to: castTo.bool });
  const filled = writer.op("Where", [isPadding, writer.float(lowest[dtype], dtype), padding]);
  return writer.op("Add", [filled, shared]);
}

/**
 * Form "triangle".
 *
 * @param positions - int64 [sequence], place of each new token in the cache.
 */
export function triangleMask(
  writer: GraphWriter,
  sizes: MaskSizes,
  positions: string,
  dtype: TransformerFloat,
): string {
  const { batch, sequence, total } = sizes;
  const low = writer.float(lowest[dtype], dtype);
  const full = expand(writer, low, [sequence, total]);
  const upper = writer.op("Trilu", [full, writer.int(1)], { upper: attribute.int(1) });
  const later = writer.op("Greater", [
    range(writer, 0, total),
    reshape(writer, positions, [-1, 1]),
  ]);
  const causal = writer.op("Mul", [upper, writer.op("Cast", [later], { to: castTo[dtype] })]);
  const square = unsqueeze(writer, unsqueeze(writer, causal, 0), 1);
  const mask = expand(writer, square, [batch, 1, -1, -1]);
  const length = sizeOf(writer, "attention_mask", 1);
  const covered = slice(writer, mask, 3, 0, length);
  const row = writer.op("Cast", [broadcastRow(writer, "attention_mask")], { to: castTo[dtype] });
  const sum = writer.op("Add", [covered, row]);
  const isPadding = writer.op("Equal", [sum, writer.float(0, dtype)]);
  const updates = writer.op("Where", [isPadding, low, covered]);
  return intoPlace(writer, mask, updates, [batch, 1, sequence, length]);
}

/** data[:shape[0], :shape[1], …] = updates, as torch writes a slice assignment. */
function intoPlace(
  writer: GraphWriter,
  data: string,
  updates: string,
  sizes: readonly Size[],
): string {
  const indices = sizes.map((size, axis) => {
    const column = reshape(
      writer,
      range(writer, 0, size),
      sizes.map((_, other) => (other === axis ? -1 : 1)),
    );
    const grid = writer.op("Expand", [column, shapeFrom(writer, sizes)]);
    return unsqueeze(writer, grid, -1);
  });
  const places = writer.op("Concat", indices, { axis: attribute.int(-1) });
  const values = reshape(writer, updates, sizes);
  return writer.op("ScatterND", [data, places, values]);
}
