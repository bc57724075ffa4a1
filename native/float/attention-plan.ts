/**
 * Attention's shapes and layouts as the fields of the kernel. Pure arithmetic.
 */
import type { FieldValues } from "../kernel.ts";
import type { attention } from "./attention.ts";
import { rowsPerTile } from "./attention-tile.ts";

/** Strides in elements of a tensor of batches, heads and rows (positions) of contiguous elements. */
export interface HeadStrides {
  readonly batch: number;
  readonly head: number;
  readonly row: number;
}

/**
 * The strides of a dense tensor: "BSNH" [batch, rows, heads, size] (also [batch, rows, heads · size]), or "BNSH"
 * [batch, heads, rows, size]. For a cache, `rows` is its capacity.
 */
export const headStrides = (
  layout: "BSNH" | "BNSH",
  rows: number,
  heads: number,
  size: number,
): HeadStrides =>
  layout === "BSNH"
    ? { batch: rows * heads * size, head: size, row: heads * size }
    : { batch: heads * rows * size, head: rows * size, row: size };

export interface AttentionShape {
  readonly batch: number;
  readonly queries: number;
  readonly heads: number;
  /** Divides `heads`; default `heads`. */
  readonly kvHeads?: number;
  readonly headSize: number;
  /** Default headSize. */
  readonly valueSize?: number;
  /** Keys, those of the cache included; where `lengths` is given, per batch. */
  readonly length: number;
  /** Position of the first query among the keys; default length − queries. */
  readonly offset?: number;
  readonly causal?: boolean;
  /** Keys that a row sees, its own included; 0 (default): all. */
  readonly window?: number;
  /** Default 1 / √headSize. */
  readonly scale?: number;
  /** 0 (default): none. */
  readonly softcap?: number;
  readonly q: HeadStrides;
  readonly k: HeadStrides;
  readonly v: HeadStrides;
  readonly out: HeadStrides;
  /** Strides of the mask; 0 where it is broadcast. */
  readonly mask?: HeadStrides;
}

type AttentionFields = typeof attention.fields;
type AttentionPointers = "q" | "k" | "v" | "out" | "mask" | "lengths" | "offsets";

export interface AttentionPlan {
  readonly items: number;
  /** Every field but the pointers. */
  readonly values: Omit<FieldValues<AttentionFields>, AttentionPointers>;
}

/** The items and fields of an attention. Throws: RangeError when kvHeads does not divide heads. */
export function planAttention(shape: AttentionShape): AttentionPlan {
  const { batch, queries, heads, kvHeads = heads, headSize, valueSize = headSize, length } = shape;
  const { offset = length - queries, causal = false, window = 0, softcap = 0 } = shape;
  const { scale = 1 / Math.sqrt(headSize), q, k, v, out } = shape;
  const { mask = { batch: 0, head: 0, row: 0 } } = shape;
  if (heads % kvHeads) throw new RangeError(`${heads} heads are no multiple of ${kvHeads}`);
  const group = heads / kvHeads;
  return {
    items: batch * kvHeads * Math.ceil((queries * group) / rowsPerTile),
    values: {
      queries,
      kvHeads,
      group,
      headSize,
      valueSize,
      length,
      offset,
      causal: causal ? 1 : 0,
      window,
      qBatch: q.batch,
      qHead: q.head,
      qRow: q.row,
      kBatch: k.batch,
      kHead: k.head,
      kRow: k.row,
      vBatch: v.batch,
      vHead: v.head,
      vRow: v.row,
      outBatch: out.batch,
      outHead: out.head,
      outRow: out.row,
      maskBatch: mask.batch,
      maskHead: mask.head,
      maskRow: mask.row,
      scale,
      softcap,
    },
  };
}
