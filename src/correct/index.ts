/**
 * The correct stage: a float weight and what the two streams say about its input, in; the weight to round, out.
 * A new correction is one file and one line in `corrections`.
 */
import type { Corrected, CorrectedTarget, CorrectInput, Correction } from "../core/correction.ts";
import { BitloomError, invariant, throwIfAborted } from "../core/errors.ts";
import { firstNonFinite } from "../core/finite.ts";
import { sharedAlgebra } from "../math/algebra.ts";
import { descendingDiagonal } from "../math/factor.ts";
import { auto } from "./auto.ts";
import { foldFeed, gptaq } from "./gptaq.ts";
import { none } from "./none.ts";
import { layerObjective } from "./objective.ts";
import { checkOptions } from "./options.ts";
import { qep } from "./qep.ts";
import { qronos } from "./qronos.ts";

export type {
  Corrected,
  CorrectedTarget,
  CorrectInput,
  Correction,
  CorrectOptions,
  CorrectProblem,
  StreamGrams,
} from "../core/correction.ts";

/** Registered corrections; the key is the file name. */
export const corrections = { none, qep, gptaq, qronos, auto } satisfies Record<string, Correction>;

/** Name of a registered correction. */
export type CorrectionName = keyof typeof corrections;

/** The correction with a name, or the user's own object. Throws `bad-option` for an unknown name. */
export function resolveCorrection(correction: CorrectionName | Correction): Correction {
  if (typeof correction !== "string") return correction;
  if (Object.hasOwn(corrections, correction)) return corrections[correction];
  throw new BitloomError(
    "bad-option",
    `Unknown correction "${String(correction)}": expected one of ${Object.keys(corrections).join(", ")}.`,
    { option: "correction", got: String(correction) },
  );
}

/**
 * Corrects one weight matrix for the errors of the layers before it.
 *
 * Where nothing drifts (the first layers of a model: both streams agree) every correction gives the weight back.
 *
 * @param given.weight - W, float32 [N, K]; not modified.
 * @param given.grams - H and C, float64 [K, K], over all rows; not modified. `residualDrift` is taken away from methods
 *   that do not need it: their objective is that of the layer alone.
 * @returns the target W* for the quantizer, float32 [N, K] (the weight object itself where nothing changed), or the
 *   weight and a feed; with J before and after on all rows (for a feed: of the target it amounts to).
 *
 * Cost: the method's, and N·K² operations for the objective.
 * @throws bad-option - unknown name, an option that the method has not or that is out of range, no held-out rows for a
 *   method that needs them. numeric - weight, statistics or target are not finite, or no damping makes the Hessian
 *   positive definite. aborted.
 */
export async function correctWeight(
  given: CorrectInput,
  correction: CorrectionName | Correction,
): Promise<Corrected> {
  const method = resolveCorrection(correction);
  const name = typeof correction === "string" ? correction : "custom";
  const input = method.needs.includes("residual") ? given : withoutResidual(given);
  const { weight, grams, options } = input;
  checkOptions(input, method, name);
  checkInput(input);
  throwIfAborted(options.signal, "correct");
  const algebra = input.algebra ?? (await sharedAlgebra());
  const objective = await layerObjective(weight, grams, algebra);
  const isUnmoved = [grams.drift, grams.residualDrift ?? []].every((sums) =>
    sums.every((value: number) => value === 0),
  );
  const result: CorrectedTarget = isUnmoved
    ? { target: weight, alpha: 0, damping: 0 }
    : await method.correct({ ...input, algebra, objective });
  throwIfAborted(options.signal, "correct");
  checkTarget(input, result);
  const { target, feed } = result;
  const order = input.activationOrder ? descendingDiagonal(grams.hessian, weight.cols) : undefined;
  const followed = feed ? await foldFeed(algebra, target, feed, order) : target;
  const before = objective.uncorrected;
  const change = followed === weight ? 0 : await objective.change(followed);
  return { ...result, objective: { before, after: before + change } };
}

function withoutResidual(input: CorrectInput): CorrectInput {
  const { grams, holdout } = input;
  return {
    ...input,
    grams: { ...grams, residualDrift: undefined },
    holdout: holdout && { ...holdout, residualDrift: undefined },
  };
}

function checkInput({ layer, weight, grams, holdout }: CorrectInput): void {
  const { rows, cols, data } = weight;
  invariant(data.length === rows * cols, "weight shape and data disagree");
  invariant(!holdout || holdout.rows < grams.rows, "held-out rows are not a part of the rows");
  checkFinite(layer, "weight", data, cols);
  for (const { hessian, drift, driftGram, residualDrift } of holdout ? [grams, holdout] : [grams]) {
    for (const matrix of [hessian, drift, driftGram ?? hessian]) {
      invariant(matrix.length === cols * cols, "statistics and weight disagree in K");
    }
    if (residualDrift) {
      invariant(residualDrift.length === data.length, "statistics and weight disagree in N or K");
      checkFinite(layer, "residual drift", residualDrift, cols);
    }
    checkFinite(layer, "hessian", hessian, cols);
    checkFinite(layer, "drift", drift, cols);
    if (driftGram) checkFinite(layer, "drift gram", driftGram, cols);
  }
}

/** How to go on, by what is not finite. */
const remedies = {
  weight: "Repair the model, or keep this layer in float",
  hessian: "Look for inputs that overflow in the calibration data",
  drift: "Look for inputs that overflow in the calibration data",
  "drift gram": "Look for inputs that overflow in the calibration data",
  "residual drift": "Look for inputs that overflow in the calibration data",
  target: "Use more calibration data, a larger damping, or the correction none",
};

function checkFinite(
  layer: string,
  what: keyof typeof remedies,
  data: Float32Array | Float64Array,
  cols: number,
): void {
  const index = firstNonFinite(data);
  if (index < 0) return;
  throw new BitloomError(
    "numeric",
    `Cannot correct "${layer}": expected a finite ${what}, got ${data[index]} in row ${Math.floor(index / cols)}, column ${index % cols}. ${remedies[what]}.`,
    { layer, step: `correct ${what}` },
  );
}

/** The result is checked too: a correction may be the user's own, and a target may overflow float32. */
function checkTarget({ layer, weight }: CorrectInput, result: CorrectedTarget): void {
  const { rows, cols } = weight;
  const { target, feed } = result;
  invariant(target.rows === rows && target.cols === cols, "corrected weight has another shape");
  if (target !== weight) checkFinite(layer, "target", target.data, cols);
  if (feed) checkFinite(layer, "target", feed, cols);
}
