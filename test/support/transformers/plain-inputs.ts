/**
 * What every layer of a plain decoder shares: sizes, mask, and how positions become cosines and sines.
 */
import { attribute } from "../../../src/onnx/index.ts";
import { lessMask, type MaskSizes, triangleMask } from "./causal-mask.ts";
import type { DecoderConfig } from "./config.ts";
import { declareDecoder, pastName } from "./decoder-io.ts";
import { type DecoderWeights, rotaryFrequencies } from "./decoder-weights.ts";
import type { GraphWriter } from "./graph-writer.ts";
import { castTo, expand, range, sizeOf, slice, transpose, unsqueeze } from "./torch-shapes.ts";

export type PlainStyle = "eager" | "sdpa";

export interface PlainOptions {
  readonly root: GraphWriter;
  readonly config: DecoderConfig;
  readonly weights: DecoderWeights;
  readonly style: PlainStyle;
  readonly cache: boolean;
}

export interface PlainGraph extends PlainOptions {
  readonly sizes: MaskSizes;
  /** [batch, 1, sequence, total]. */
  readonly mask: string;
  /** [batch or 1, sequence, headDim]. */
  readonly cos: string;
  readonly sin: string;
}

export function plainGraph(options: PlainOptions): PlainGraph {
  const { root, config, style, cache } = options;
  declareDecoder(root, config, { cache, positionIds: cache });
  const writer = root.in("model");
  const batch = sizeOf(writer, "input_ids", 0);
  const sequence = sizeOf(writer, "input_ids", 1);
  const past = cache ? sizeOf(writer, pastName(0, "key"), 2) : undefined;
  const total = past === undefined ? sequence : writer.op("Add", [past, sequence]);
  const sizes = { batch, sequence, past, total };
  const positions = range(writer, past ?? 0, total);
  const mask =
    style === "eager"
      ? lessMask(writer, sizes, config.dtype)
      : triangleMask(writer, sizes, positions, config.dtype);
  const ids = cache ? "position_ids" : unsqueeze(writer, positions, 0);
  const rotary = style === "eager" ? fromTables : fromFrequencies;
  return { ...options, sizes, mask, ...rotary(options, sizes, ids) };
}

type Rotary = Pick<PlainGraph, "cos" | "sin">;

/** Rows of the cosine and sine tables. */
function fromTables({ root, weights }: PlainOptions, { total }: MaskSizes, ids: string): Rotary {
  const writer = root.in("model/rotary_emb");
  const rows = (of: "cos" | "sin") => {
    const table = root.tensor(weights.rotaryTable(`model.rotary_emb.${of}_cached`, of, true));
    const used = slice(writer, table, 0, 0, total);
    return writer.op("Gather", [used, ids], { axis: attribute.int(0) });
  };
  return { cos: rows("cos"), sin: rows("sin") };
}

/** Angles: frequencies [batch, headDim / 2, 1] times positions [batch, 1, sequence], computed in float32. */
function fromFrequencies({ root, config }: PlainOptions, _: MaskSizes, ids: string): Rotary {
  const writer = root.in("model/rotary_emb");
  const { headDim, dtype } = config;
  const name = "model.rotary_emb.inv_freq";
  root.builder.initializer(name, [1, headDim / 2, 1], rotaryFrequencies(headDim));
  const frequencies = expand(writer, name, [sizeOf(writer, ids, 0), -1, 1]);
  const wide = writer.op("Cast", [frequencies], { to: castTo.float32 });
  const places = writer.op("Cast", [unsqueeze(writer, ids, 1)], { to: castTo.float32 });
  const half = transpose(writer, writer.op("MatMul", [wide, places]), [0, 2, 1]);
  const angles = writer.op("Concat", [half, half], { axis: attribute.int(-1) });
  const finished = (operator: "Cos" | "Sin") => {
    const value = writer.op("Mul", [writer.op(operator, [angles]), writer.float(1)]);
    return dtype === "float16" ? writer.op("Cast", [value], { to: castTo.float16 }) : value;
  };
  return { cos: finished("Cos"), sin: finished("Sin") };
}
