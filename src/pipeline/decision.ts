/**
 * Why each layer got its bits, for the report: prices of single steps and the plans that could have been.
 * Nothing is measured here: the alternatives of the planning stage say it all.
 */
import {
  type FrontierPoint,
  marginalPrice,
  paretoFrontier,
  uniformPlans,
} from "../allocate/index.ts";
import type { LayerId } from "../core/layer.ts";
import type { LayerAlternatives, LayerScore } from "../core/plan.ts";
import type { DecisionReport, LayerStep } from "../report/index.ts";
import type { Choice } from "./choice.ts";

export interface LayerSteps {
  readonly nextUpgrade: LayerStep | null;
  readonly lastDowngrade: LayerStep | null;
}

/** The steps away from each layer's pick, by layer. */
export function stepsOf({ picks, alternatives }: Choice): Map<LayerId, LayerSteps> {
  const upgrades = marginalPrice(picks, alternatives);
  return new Map(
    alternatives.map((layer, at) => {
      const { upgrade, lossPerByte } = upgrades[at];
      return [
        layer.layer,
        {
          nextUpgrade: upgrade ? { format: upgrade.format.id, lossPerByte } : null,
          lastDowngrade: cheapestDowngrade(picks[at], layer),
        },
      ];
    }),
  );
}

/** The smaller alternative that adds least loss per byte saved; less than nothing where smaller is better. */
function cheapestDowngrade(
  pick: LayerScore,
  { alternatives }: LayerAlternatives,
): LayerStep | null {
  return alternatives
    .filter(({ bytes }) => bytes < pick.bytes)
    .map(({ format, bytes, loss }) => ({
      format: format.id,
      lossPerByte: (loss - pick.loss) / (pick.bytes - bytes),
    }))
    .reduce<LayerStep | null>(
      (least, step) => (least && least.lossPerByte <= step.lossPerByte ? least : step),
      null,
    );
}

/** Plans on the reported curve; a plot shows no more. */
const frontierPoints = 240;

/** null for a replayed plan, which had no alternatives. */
export function describeDecision({
  alternatives,
  picks,
  budgetBytes,
  gate,
}: Choice): DecisionReport | null {
  if (!gate) return null;
  const frontier = paretoFrontier(alternatives);
  const crossing = frontier.find(({ bytes }) => bytes > budgetBytes);
  const sum = (key: "bytes" | "loss") => picks.reduce((total, pick) => total + pick[key], 0);
  return {
    marginalPrice: crossing?.lossPerByte ?? 0,
    frontier: thinned(frontier, budgetBytes).map(({ bytes, loss }) => ({ bytes, loss })),
    uniform: uniformPlans(alternatives).map(({ format, bytes, loss }) => ({
      format: format.id,
      bytes,
      loss,
    })),
    written: { bytes: sum("bytes"), loss: sum("loss") },
  };
}

/** Evenly many points, both ends, and the two beside the budget. */
function thinned(points: readonly FrontierPoint[], budgetBytes: number): FrontierPoint[] {
  if (points.length <= frontierPoints) return [...points];
  const after = points.findIndex(({ bytes }) => bytes > budgetBytes);
  const kept = new Set([after - 1, after]);
  for (let i = 0; i < frontierPoints; i++) {
    kept.add(Math.round((i * (points.length - 1)) / (frontierPoints - 1)));
  }
  return points.filter((_, at) => kept.has(at));
}
