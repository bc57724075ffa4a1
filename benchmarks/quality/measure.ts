/**
 * Measures plans in the lab: each distinct plan once, what is known already not at all.
 */
import {
  type Lab,
  type LayerAlternatives,
  openLab,
  type Quality,
  type QuantizerName,
  type ScorerName,
} from "../../src/index.ts";
import type { Journal } from "../harness/journal.ts";
import type { Progress } from "../harness/progress.ts";
import type { Subject } from "../harness/subject.ts";
import { distinctPlans, type Plan, planId } from "./plan.ts";

export interface Bench {
  readonly subject: Subject;
  readonly journal: Journal;
  readonly progress: Progress;
  /** Σ N·K of the quantizable weights. */
  weights(): Promise<number>;
  scores(quantizer: QuantizerName, scorer: ScorerName): Promise<readonly LayerAlternatives[]>;
  /** One quality per plan, in order. */
  measure(plans: readonly Plan[]): Promise<readonly Quality[]>;
  /** For what the bench does not know; opening takes a calibration. */
  lab(quantizer: QuantizerName): Promise<Lab>;
  close(): Promise<void>;
}

/** Plans that are measured in one pass over the data, and lost together when the run is interrupted. */
const plansAtOnce = 6;

export function openBench(subject: Subject, journal: Journal, progress: Progress): Bench {
  let open: { readonly quantizer: QuantizerName; readonly lab: Lab } | undefined;
  // One lab at a time: each holds the statistics of all layers.
  const lab = async (quantizer: QuantizerName): Promise<Lab> => {
    if (open?.quantizer === quantizer) return open.lab;
    await open?.lab.close();
    open = undefined;
    const opened = await openLab(subject.model, { ...subject.data, quantizer });
    open = { quantizer, lab: opened };
    return opened;
  };

  async function measureTogether(plans: readonly Plan[]): Promise<void> {
    const start = performance.now();
    const { quantizer, propagation } = plans[0];
    const used = await lab(quantizer);
    const qualities =
      propagation === "one-by-one"
        ? await used.evaluate(plans.map(({ picks }) => picks))
        : await used.evaluateSequential(
            plans.map(({ picks }) => ({ picks, correction: propagation })),
          );
    const elapsedMs = (performance.now() - start) / plans.length;
    plans.forEach((plan, at) => {
      journal.put(planKey(plan), qualities[at]);
      progress.done(kindOf(plan), `${quantizer}, ${propagation}`, elapsedMs);
    });
  }

  return {
    subject,
    journal,
    progress,
    lab,
    weights: () => journal.remember("weights", async () => (await lab("gptq")).weights),
    scores: (quantizer, scorer) =>
      journal.remember(`scores ${quantizer} ${scorer}`, async () => {
        const start = performance.now();
        const scores = await (await lab(quantizer)).score(scorer);
        progress.note(
          `scored with ${scorer}: ${((performance.now() - start) / 1000).toFixed(1)} s`,
        );
        return scores;
      }),
    async measure(plans) {
      const missing = [...distinctPlans(plans).values()].filter(
        (plan) => !journal.has(planKey(plan)),
      );
      for (const plan of missing) progress.expect(kindOf(plan), 1);
      for (const group of grouped(missing)) await measureTogether(group);
      return plans.map((plan) => journal.get<Quality>(planKey(plan)) as Quality);
    },
    close: async () => open?.lab.close(),
  };
}

const planKey = (plan: Plan) => `plan ${planId(plan)}`;

const kindOf = ({ quantizer, propagation }: Plan) => `${quantizer}, ${propagation}`;

/** Plans that one call of the lab can measure, quantizer after quantizer. */
function grouped(plans: readonly Plan[]): Plan[][] {
  const byKind = new Map<string, Plan[]>();
  for (const plan of plans) byKind.set(kindOf(plan), [...(byKind.get(kindOf(plan)) ?? []), plan]);
  return [...byKind]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .flatMap(([, all]) => {
      const size = all[0].propagation === "one-by-one" ? plansAtOnce : 1;
      return Array.from({ length: Math.ceil(all.length / size) }, (_, at) =>
        all.slice(at * size, (at + 1) * size),
      );
    });
}
