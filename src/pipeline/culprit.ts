/**
 * Which layer is at fault when a model's quality cannot be measured.
 * Not here: the measurement that failed (`evaluate/finite.ts`).
 */
import { calibrate } from "../calibrate/index.ts";
import type { Dataset } from "../core/dataset.ts";
import { BitloomError, isBitloomError } from "../core/errors.ts";
import type { Run } from "./run.ts";

/**
 * Names the first layer whose activations are not finite in the float model already.
 *
 * @param error - of a measurement on `dataset`; any other error is handed back.
 * @returns the error to throw: with the layer's name, or as it was when the float model is not at fault.
 *
 * Cost: one forward pass over the data, only after a failure.
 */
export async function nameCulprit(error: unknown, run: Run, dataset: Dataset): Promise<unknown> {
  if (!isBitloomError(error, "numeric") || error.detail.step !== "evaluation") return error;
  const { subject, runtime, memoryLimitBytes, options } = run;
  const { model, layers, blocks } = subject;
  try {
    const { signal } = options;
    const needs = ["meanSquare"] as const;
    await calibrate({ model, layers, blocks, dataset, needs, runtime, memoryLimitBytes, signal });
    return error;
  } catch (found) {
    if (!isBitloomError(found, "numeric")) return error;
    const { layer } = found.detail;
    return new BitloomError(
      "numeric",
      `The activations of layer "${layer}" are not finite in the float model, or too large for float32 squares. ${error.message}`,
      { layer, step: "evaluation" },
      { cause: error },
    );
  }
}
