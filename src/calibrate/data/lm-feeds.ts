/**
 * Token windows to the feeds of a language model: ids, masks, positions and empty key/value caches.
 * Invariant: all windows of a batch have the same length, so no padding ever enters the statistics.
 */
import type { TokenWindow } from "../../core/dataset.ts";
import { BitloomError } from "../../core/errors.ts";
import type { Feeds } from "../../core/feeds.ts";
import { emptyCacheShape } from "../../core/language-model.ts";
import { elementCount } from "../../core/tensor.ts";
import type { Graph, ValueInfo } from "../../onnx/types.ts";
import type { NumericFeed } from "./feeds.ts";
import { createFeedData, describeInput, feedFrom, isFeedDType } from "./feeds.ts";
import type { LanguageModelInputs } from "./lm-inputs.ts";

/**
 * Refuses a model that needs more than tokens, and a window that its fixed sequence length excludes.
 *
 * @throws bad-data - names the inputs.
 */
export function checkLanguageModel(inputs: LanguageModelInputs, window: number): void {
  if (inputs.unknown.length > 0) {
    const got = inputs.unknown.map((name) => `"${name}"`).join(", ");
    throw new BitloomError(
      "bad-data",
      `Text cannot feed this model: it also needs ${got}, which is none of the usual language model inputs. Give complete feeds in a .jsonl manifest.`,
      { input: inputs.unknown[0], expected: "language model inputs only", got },
    );
  }
  if (inputs.fixedSequence !== undefined && inputs.fixedSequence !== window) {
    throw new BitloomError(
      "bad-data",
      `Input "${inputs.ids}" takes exactly ${inputs.fixedSequence} tokens, got windows of ${window}. Leave the window out or set it to ${inputs.fixedSequence}.`,
      { input: inputs.ids, expected: `${inputs.fixedSequence} tokens`, got: `${window} tokens` },
    );
  }
}

/**
 * Feeds for one batch. Caches start empty: their past dimension is 0, or, where the graph fixes it, zeros that the
 * attention mask hides.
 *
 * @param windows - same length each; their inputs (all ids but the last) become int [batch, window].
 * @throws bad-data - a cache whose dimensions the graph neither fixes nor names.
 */
export function languageModelFeeds(
  graph: Graph,
  inputs: LanguageModelInputs,
  windows: readonly TokenWindow[],
): Feeds {
  const sequence = windows[0].ids.length - 1;
  const batch = windows.length;
  const caches = graph.inputs.filter(({ name }) => inputs.roles.get(name) === "cache");
  const cacheShapes = new Map(caches.map((info) => [info.name, cacheShape(info, batch)]));
  const past = pastLength(caches, cacheShapes);
  const feeds: Record<string, NumericFeed> = {};
  for (const info of graph.inputs) {
    const role = inputs.roles.get(info.name);
    if (!role || !isFeedDType(info.dtype)) continue;
    const dtype = info.dtype;
    const fill = (length: number, value: (column: number, row: number) => number) => {
      const rows = info.shape?.length === 2 ? batch : 1;
      const shape = info.shape?.length === 2 ? [batch, length] : [length];
      const values = Array.from({ length: rows * length }, (_, i) =>
        value(i % length, Math.floor(i / length)),
      );
      return feedFrom(info.name, dtype, shape, values);
    };
    const scalar = (): NumericFeed => {
      const shape = info.shape?.length === 1 ? [1] : [];
      return feedFrom(info.name, dtype, shape, [0]);
    };
    switch (role) {
      case "ids":
        feeds[info.name] = fill(sequence, (column, row) => windows[row].ids[column]);
        break;
      case "attention-mask":
        feeds[info.name] = fill(past + sequence, (column) => (column < past ? 0 : 1));
        break;
      case "position-ids":
      case "cache-position":
        feeds[info.name] = fill(sequence, (column) => column);
        break;
      case "token-type-ids":
        feeds[info.name] = fill(sequence, () => 0);
        break;
      case "use-cache-branch":
      case "logits-to-keep":
        // 0 logits to keep means all of them.
        feeds[info.name] = scalar();
        break;
      case "cache": {
        const shape = cacheShapes.get(info.name) ?? [];
        feeds[info.name] = { dtype, shape, data: createFeedData(dtype, elementCount(shape)) };
      }
    }
  }
  return feeds;
}

function cacheShape(info: ValueInfo, batch: number): number[] {
  return emptyCacheShape(info.shape, batch).map((size, axis) => {
    if (size !== undefined) return size;
    const dim = info.shape?.[axis];
    throw new BitloomError(
      "bad-data",
      `Cache input "${info.name}" has dimension ${axis} (${dim ?? "unnamed"}) of unknown size: expected a fixed size, a batch or a past length, got ${describeInput(info)}. Export the model without cache inputs or give feeds in a .jsonl manifest.`,
      { input: info.name, expected: "fixed dimensions", got: describeInput(info) },
    );
  });
}

/** Length of the attention cache: the second last dimension of the first key cache, [batch, heads, past, width]. */
function pastLength(
  caches: readonly ValueInfo[],
  shapes: ReadonlyMap<string, readonly number[]>,
): number {
  const key =
    caches.find(({ name }) => /key(?!_values)/.test(name) && !/conv|ssm/.test(name)) ??
    caches.find(({ shape }) => (shape?.length ?? 0) >= 4);
  return (key && shapes.get(key.name)?.at(-2)) ?? 0;
}

/**
 * What the windows ask the model to predict.
 *
 * @returns targets int64 [batch, window]: the next id at each position; weights float32 [batch, window]: 1 where the
 *   prediction is scored, 0 where it is context; scored: Σ weights.
 */
export function windowTargets(windows: readonly TokenWindow[]): {
  readonly targets: NumericFeed;
  readonly weights: NumericFeed;
  readonly scored: number;
} {
  const window = windows[0].ids.length - 1;
  const shape = [windows.length, window];
  const targets = new BigInt64Array(windows.length * window);
  const weights = new Float32Array(windows.length * window);
  let scored = 0;
  windows.forEach(({ ids, scoreFrom }, row) => {
    for (let column = 0; column < window; column++) {
      targets[row * window + column] = BigInt(ids[column + 1]);
      weights[row * window + column] = column < scoreFrom ? 0 : 1;
    }
    scored += window - scoreFrom;
  });
  return {
    targets: { dtype: "int64", shape, data: targets },
    weights: { dtype: "float32", shape, data: weights },
    scored,
  };
}
