/**
 * Experiments on one model and one set of data: score with many scorers, try many plans, compare their quality. What
 * the quality benchmark is made of; the pipeline itself makes one choice and writes it.
 */
import type { LayerId } from "../core/layer.ts";
import type { LayerAlternatives, LayerScore } from "../core/plan.ts";
import type { Scorer } from "../core/score.ts";
import type { StatName } from "../core/stats.ts";
import { evaluateModels, type Quality } from "../evaluate/index.ts";
import type { Model } from "../onnx/index.ts";
import { createRuntime } from "../runtime/index.ts";
import { createLossProbe, resolveScorer, type ScorerName, scorers } from "../score/index.ts";
import { scoreAlternatives } from "./alternatives.ts";
import { openHeld } from "./held.ts";
import { createJournal } from "./journal.ts";
import { resolveCorrectionOptions, type StageOptions } from "./options.ts";
import { buildModel, prepareRun } from "./run.ts";
import { quantizeSequentially } from "./sequential.ts";

/** A model and its data, opened once for many experiments. */
export interface Lab {
  /** Σ N·K of the quantizable weights. */
  readonly weights: number;
  /** Every layer's alternatives under a scorer, with exact bytes. */
  score(scorer: ScorerName | Scorer): Promise<readonly LayerAlternatives[]>;
  /** Quality of plans on the evaluation data, each against the float model. */
  evaluate(plans: readonly (readonly LayerScore[])[]): Promise<readonly Quality[]>;
  /**
   * The same for plans that are quantized in order, each layer corrected for the error that reaches it.
   *
   * Cost: one walk over all layers per plan, and its codes in memory or temporary files while it is measured.
   */
  evaluateSequential(plans: readonly SequentialPlan[]): Promise<readonly Quality[]>;
  /** Loss on the gate split with only one layer in its given format: the truth that scores predict. */
  measureAlone(picks: readonly LayerScore[]): Promise<ReadonlyMap<LayerId, number>>;
  /** Ends the worker threads. */
  close(): Promise<void>;
}

/** A plan, and how it is quantized in order. */
export interface SequentialPlan
  extends Pick<StageOptions, "correction" | "correctionAlpha" | "correctionDamping"> {
  readonly picks: readonly LayerScore[];
}

/** Models held open at once by `evaluate`; each holds its weights. */
const modelsAtOnce = 6;

/**
 * Opens model and data and collects the statistics of every registered scorer once.
 *
 * @param options - as for `quantize`; `budget`, `scorer` and `allocator` play no part.
 */
export async function openLab(modelPath: string, options: StageOptions): Promise<Lab> {
  const runtime = createRuntime({ threads: options.threads ?? 2 });
  const arrays = openHeld(options.memoryLimitBytes);
  const close = async () => {
    arrays.close();
    await runtime.close();
  };
  try {
    const needs = new Set<StatName>(
      Object.values<Scorer>(scorers).flatMap((scorer) => [...scorer.needs]),
    );
    const collector: Scorer = { ...resolveScorer("output-error"), needs: [...needs] };
    const journal = createJournal(options);
    const run = await prepareRun(
      modelPath,
      { ...options, scorer: collector },
      { journal, runtime, arrays, needsScores: true },
    );
    const { subject, data, weights } = run;
    const measure = (quantized: readonly Model[]) =>
      evaluateModels({
        float: subject.model,
        quantized,
        dataset: data.evaluate,
        loss: run.reportLoss,
        memoryLimitBytes: run.memoryLimitBytes,
        runtime,
      });
    return {
      weights: subject.weights,
      score: (scorer) => scoreAlternatives({ ...run, scorer: resolveScorer(scorer) }),
      async evaluate(plans) {
        const qualities: Quality[] = [];
        for (let i = 0; i < plans.length; i += modelsAtOnce) {
          const some = plans.slice(i, i + modelsAtOnce);
          qualities.push(...(await measure(some.map((picks) => buildModel(run, picks)))));
        }
        return qualities;
      },
      async evaluateSequential(plans) {
        const qualities: Quality[] = [];
        for (const { picks, ...options } of plans) {
          // Codes go with their store: of many plans no more than one is kept.
          const held = openHeld(run.memoryLimitBytes);
          try {
            const corrected = {
              ...run,
              arrays: held,
              correction: resolveCorrectionOptions(options),
            };
            const { weights } = await quantizeSequentially(corrected, picks, undefined);
            qualities.push(...(await measure([buildModel({ ...run, weights }, picks)])));
          } finally {
            held.close();
          }
        }
        return qualities;
      },
      async measureAlone(picks) {
        const probe = await createLossProbe({
          model: subject.model,
          blocks: subject.blocks,
          dataset: data.gate,
          loss: run.searchLoss,
          runtime,
        });
        const formats = new Map(picks.map(({ layer, format }) => [layer, format]));
        const jobs = subject.layers.flatMap((layer) => {
          const format = formats.get(layer.id);
          if (!format || format.kind === "float") return [];
          return [{ layer, candidates: [() => weights.quantized(layer, format)] }];
        });
        const losses = await probe.measure(jobs);
        return new Map(jobs.map(({ layer }, i) => [layer.id, losses[i][0]]));
      },
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}
