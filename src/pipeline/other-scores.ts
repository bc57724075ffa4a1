/**
 * What other scorers would have said, for the report: those that need nothing beyond the statistics of the run, for
 * one format. Invariant: the model does not run.
 *
 * Cost: one rounding of every layer, and one more for each scorer that ranks blocks.
 */
import { throwIfAborted } from "../core/errors.ts";
import { parseFormat, type WeightFormat } from "../core/format.ts";
import type { Layer, LayerId } from "../core/layer.ts";
import type { ScoreInput, Scorer } from "../core/score.ts";
import { joinStats, type LayerStats, type StatName } from "../core/stats.ts";
import { spearman } from "../math/metrics.ts";
import type { ScoreComparison } from "../report/index.ts";
import { scoreLayers, scorers } from "../score/index.ts";
import type { Choice } from "./choice.ts";
import { meanSquares } from "./outliers.ts";
import type { Run } from "./run.ts";
import { fittingFormats } from "./subject.ts";

type Losses = ReadonlyMap<LayerId, number>;

/**
 * @returns null when a saved plan decided or nothing was quantized.
 */
export async function compareScores(run: Run, choice: Choice): Promise<ScoreComparison | null> {
  const format = commonFormat(choice);
  if (!choice.gate || !format) return null;
  const { subject, names, options } = run;
  const integers = new Set(
    choice.picks.filter((pick) => pick.format.kind === "integer").map(({ layer }) => layer),
  );
  const layers = subject.layers.filter(
    (layer) => integers.has(layer.id) && fittingFormats([format], layer, false).length > 0,
  );
  const stats = new Map(
    layers.flatMap((layer) => {
      const entry = run.stats.get(layer.id);
      return entry ? [[layer.id, withMeanSquare(entry, layer)] as const] : [];
    }),
  );
  const own: Losses = new Map(
    choice.alternatives.flatMap(({ layer, alternatives }) => {
      const known = alternatives.find((alternative) => alternative.format.id === format.id);
      return known && integers.has(layer) ? [[layer, known.loss] as const] : [];
    }),
  );
  const all: { name: string; unit: string; losses: Losses }[] = [
    { name: names.scorer, unit: choice.scoreUnit, losses: own },
  ];
  const input: Omit<ScoreInput, "candidates"> = {
    stats,
    blocks: subject.blocks,
    rounded: run.weights.rounded,
    // One error for all of them to judge, and no work of the quantizer for a report.
    quantized: run.weights.rounded,
    probe: refuseToRun,
    seed: run.seed,
    algebra: run.algebra,
    signal: options.signal,
  };
  const single: { scorer: Scorer; losses: Map<LayerId, number> }[] = [];
  for (const [name, scorer] of Object.entries<Scorer>(scorers)) {
    if (name === names.scorer || !isAffordable(scorer, stats, layers)) continue;
    if (subject.blocks.length === 0 && scorer.ranksBlocks) continue;
    throwIfAborted(options.signal, "scoring");
    const losses = new Map<LayerId, number>();
    all.push({ name, unit: scorer.unit, losses });
    if (scorer.ranksBlocks) await scoreInto(losses, scorer, input, layers, format);
    else single.push({ scorer, losses });
  }
  // Those that look at layers one by one share what it takes to read and round each; registered scorers without
  // `forward` change no weight.
  for (const layer of single.length > 0 ? layers : []) {
    throwIfAborted(options.signal, "scoring");
    const weight = await layer.readWeight();
    const rounded = once(() => run.weights.rounded(layer, format));
    const shared = { ...input, rounded, quantized: rounded };
    const read = { ...layer, readWeight: async () => weight };
    for (const { scorer, losses } of single) {
      await scoreInto(losses, scorer, shared, [read], format);
    }
  }
  return {
    format: format.id,
    scorers: all.map(({ name, unit, losses }) => ({
      name,
      unit,
      losses: subject.layers.map(({ id }) => losses.get(id) ?? null),
      rankCorrelation: correlate(own, losses),
    })),
  };
}

async function scoreInto(
  losses: Map<LayerId, number>,
  scorer: Scorer,
  input: Omit<ScoreInput, "candidates">,
  layers: readonly Layer[],
  format: WeightFormat,
): Promise<void> {
  const candidates = layers.map((layer) => ({ layer, formats: [format] }));
  const scores = await scoreLayers({ ...input, candidates }, scorer);
  for (const [id, score] of scores) losses.set(id, score.losses[0]);
}

/** Made when it is first asked for. */
function once<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}

const refuseToRun: ScoreInput["probe"] = () => {
  throw new Error("bug in bitloom: a scorer without `forward` runs the model");
};

/** The integer format that most layers got; ties by name. */
function commonFormat({ picks }: Choice): WeightFormat | undefined {
  const counts = new Map<string, number>();
  for (const { format } of picks) {
    if (format.kind === "integer") counts.set(format.id, (counts.get(format.id) ?? 0) + 1);
  }
  const [most] = [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
  return most && parseFormat(most[0]);
}

/** The diagonal of H = (2 / T) XᵀX is twice the mean square; read only when asked for. */
function withMeanSquare(stats: LayerStats, { k }: Layer): LayerStats {
  if ("meanSquare" in stats || !("hessian" in stats)) return stats;
  const more = {
    get meanSquare() {
      return meanSquares(stats, k);
    },
  };
  return joinStats<StatName, "meanSquare">(stats, more as Partial<LayerStats<"meanSquare">>);
}

function isAffordable(
  { needs, forward }: Scorer,
  stats: ReadonlyMap<LayerId, LayerStats>,
  layers: readonly Layer[],
): boolean {
  const isKnown = (name: StatName) => layers.every(({ id }) => name in (stats.get(id) ?? {}));
  return !forward && needs.every(isKnown);
}

function correlate(own: Losses, other: Losses): number | null {
  const both = [...own.keys()].filter((id) => other.has(id));
  if (both.length < 3) return null;
  const value = spearman(
    Float64Array.from(both, (id) => own.get(id) ?? 0),
    Float64Array.from(both, (id) => other.get(id) ?? 0),
  );
  return Number.isFinite(value) ? value : null;
}
