/**
 * The boundary of the allocation stage: what it refuses, and the message for a budget that is too small.
 * Not for options in text form, see `budget.ts` and `constraints.ts`.
 */
import { BitloomError } from "../core/errors.ts";
import type { LayerAlternatives, LayerScore } from "../core/plan.ts";
import { compareBySize, totalBytes } from "./alternatives.ts";
import { formatBytesApart } from "./budget.ts";

/** Throws bad-option unless the budget is a number of bytes, zero or above. */
export function checkBudget(budgetBytes: number): void {
  if (budgetBytes >= 0) return;
  throw new BitloomError(
    "bad-option",
    `The budget must be a number of bytes, zero or above, got ${budgetBytes}.`,
    { option: "budget", got: String(budgetBytes) },
  );
}

/** Throws bad-option for layers that cannot be allocated, numeric for losses that cannot be added. */
export function checkLayers(layers: readonly LayerAlternatives[]): void {
  const seen = new Set<string>();
  for (const { layer, alternatives } of layers) {
    if (seen.has(layer)) throw badLayer(layer, "comes twice. Give each layer once");
    seen.add(layer);
    if (alternatives.length === 0) {
      throw badLayer(
        layer,
        "has no format to choose from. Widen --formats, --min-bits or --max-bits",
      );
    }
    const formats = new Set(alternatives.map(({ format }) => format.id));
    if (formats.size < alternatives.length)
      throw badLayer(layer, "has a format twice. Score each format once");
    for (const alternative of alternatives) checkAlternative(layer, alternative);
  }
}

function checkAlternative(layer: string, { layer: owner, format, bytes, loss }: LayerScore): void {
  if (owner !== layer)
    throw badLayer(layer, `holds the score of layer "${owner}". Give each layer its own`);
  if (!Number.isSafeInteger(bytes) || bytes < 0) {
    throw badLayer(
      layer,
      `has ${bytes} bytes at ${format.id}, expected a whole number, zero or above`,
    );
  }
  if (!(Number.isFinite(loss) && loss >= 0)) {
    throw new BitloomError(
      "numeric",
      `Layer "${layer}" has the loss ${loss} at ${format.id}, expected a finite number, zero or above. Use another scorer or leave the format out with --formats.`,
      { layer, step: "score" },
    );
  }
}

function badLayer(layer: string, problem: string): BitloomError {
  return new BitloomError("bad-option", `Cannot allocate: layer "${layer}" ${problem}.`, {
    option: "formats",
    got: layer,
  });
}

/** Throws infeasible-budget when not even every layer at its smallest alternative fits. */
export function checkFeasible(layers: readonly LayerAlternatives[], budgetBytes: number): void {
  const smallest = layers.map(({ alternatives }) => [...alternatives].sort(compareBySize)[0]);
  const minBytes = totalBytes(smallest);
  if (minBytes <= budgetBytes) return;
  const maxBytes = totalBytes(layers.map(({ alternatives }) => largestAlternative(alternatives)));
  const weights = layers.reduce((sum, layer) => sum + layer.weights, 0);
  const bitsPerWeight = (bytes: number) => (8 * bytes) / weights;
  const [got, least] = formatBytesApart(budgetBytes, minBytes);
  const formats = new Set(smallest.map(({ format }) => format.id));
  const plan =
    formats.size === 1
      ? `all ${layers.length} layers at ${[...formats].join()}`
      : `each of the ${layers.length} layers at its smallest format`;
  // Rounded up, so that the advice itself is feasible.
  const enough = (Math.ceil(bitsPerWeight(minBytes) * 100) / 100).toFixed(2);
  throw new BitloomError(
    "infeasible-budget",
    `Budget ${got} (${bitsPerWeight(budgetBytes).toFixed(2)} bpw) is below the smallest plan ${least} (${plan}). Raise --budget to at least ${enough}bpw or allow smaller formats with --formats.`,
    { budgetBytes, minBytes, maxBytes },
  );
}

function largestAlternative(alternatives: readonly LayerScore[]): LayerScore {
  return alternatives.reduce((largest, next) => (next.bytes > largest.bytes ? next : largest));
}
