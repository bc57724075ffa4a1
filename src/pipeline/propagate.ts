/**
 * Whether and how the plan is quantized layer after layer: opens the checkpoint, runs the sequential stage, and keeps
 * its result only if it is better on data that nothing was fitted to.
 */
import { BitloomError, isBitloomError } from "../core/errors.ts";
import { lossOf, measureModels } from "../evaluate/index.ts";
import type { ErrorGrowthReport, PropagationReport } from "../report/index.ts";
import { onnxRuntimeVersion } from "../runtime/index.ts";
import { version } from "../version.ts";
import { fingerprint, fingerprintModel } from "./artefact.ts";
import { type Checkpoint, openCheckpoint } from "./checkpoint.ts";
import type { Choice } from "./choice.ts";
import { measureGrowth } from "./error-growth.ts";
import type { QuantizePipelineOptions } from "./options.ts";
import { buildMeasured, isSequential, type Run } from "./run.ts";
import { quantizeSequentially } from "./sequential.ts";

export interface Propagated {
  /** The run, with the weights that are written. */
  readonly run: Run;
  /** To be removed when the output is written. */
  readonly checkpoint: Checkpoint | undefined;
  /** null when every layer was rounded by itself. */
  readonly propagation: PropagationReport | null;
  readonly growth: ErrorGrowthReport | null;
}

/**
 * Cost: see `walkStreams` and `measureGrowth`; where layers were rounded by themselves too, one pass over the gate split
 * for the float model and each of the two.
 */
export async function propagate(
  run: Run,
  choice: Choice,
  options: QuantizePipelineOptions,
): Promise<Propagated> {
  const { journal, subject } = run;
  const oneShot: Propagated = { run, checkpoint: undefined, propagation: null, growth: null };
  if (options.sequential === false) return oneShot;
  if (!isSequential(subject, options)) {
    journal.notify({
      code: "one-shot",
      message:
        "Layers are quantized one by one: ONNX Runtime's JavaScript API has no bfloat16 tensors to carry between them. Convert the model to float16 for sequential quantization.",
    });
    return oneShot;
  }
  const checkpoint = await checkpointOf(run, choice, options);
  const { sequential, candidate, loss } = await journal.stage("propagate", async () => {
    const sequential = await quantizeSequentially(run, choice.picks, checkpoint).catch((error) => {
      throw sayWhereToGoOn(error, checkpoint);
    });
    const candidate: Run = { ...run, weights: sequential.weights };
    // Plans that were rounded to nearest leave no layers to compare with.
    const loss = run.plansRounded ? null : await compareLosses(candidate, run, choice);
    return { sequential, candidate, loss };
  });
  const isBetter = loss === null || loss.sequential <= loss.oneShot;
  if (!isBetter) {
    const [ofOneShot, ofSequential] = [loss.oneShot, loss.sequential].map((x) => x.toPrecision(3));
    journal.notify({
      code: "one-shot-wins",
      message: `On the gate split layers rounded one by one are better (${ofOneShot} against ${ofSequential} ${run.searchLoss.unit}); they are written. More calibration data helps the sequential ones.`,
    });
  }
  const growth = await journal.stage("growth", () =>
    measureGrowth(run, sequential.weights, choice.picks),
  );
  return {
    run: isBetter ? candidate : run,
    checkpoint,
    growth,
    propagation: {
      ...sequential.propagation,
      loss,
      written: isBetter ? "sequential" : "one-shot",
    },
  };
}

/** Loss of the plan with the weights of either run, on the gate split; a model that computes NaN is the worst there is. */
async function compareLosses(
  sequential: Run,
  oneShot: Run,
  { picks }: Choice,
): Promise<PropagationReport["loss"]> {
  const { subject, data, searchLoss: loss, runtime, memoryLimitBytes, journal, options } = oneShot;
  const qualities = await measureModels({
    ...{ float: subject.model, dataset: data.gate, loss, runtime, memoryLimitBytes },
    quantized: [sequential, oneShot].map((run) => buildMeasured(run, picks)),
    signal: options.signal,
    onEvent: journal.emit,
  });
  const [ofSequential, ofOneShot] = qualities.map((quality) => {
    const value = lossOf(quality);
    return Number.isNaN(value) ? Number.POSITIVE_INFINITY : value;
  });
  return { sequential: ofSequential, oneShot: ofOneShot };
}

/** An interrupted run can go on, which its user should know. */
function sayWhereToGoOn(error: unknown, checkpoint: Checkpoint | undefined): unknown {
  if (!checkpoint || !isBitloomError(error, "aborted")) return error;
  return new BitloomError(
    "aborted",
    `Interrupted between layers; no output was written. Finished layers are kept in "${checkpoint.folder}": run the same command again to go on.`,
    error.detail,
    { cause: error },
  );
}

/** The checkpoint of this run; undefined without one, or when methods have no name to recognize them by. */
async function checkpointOf(
  run: Run,
  { picks }: Choice,
  options: QuantizePipelineOptions,
): Promise<Checkpoint | undefined> {
  const { names, correction, methods, subject, data } = run;
  const { checkpoint = `${options.output}.checkpoint` } = options;
  if (checkpoint === false || names.quantizer === "custom" || correction.name === "custom") {
    return undefined;
  }
  return openCheckpoint(
    checkpoint,
    fingerprint({
      bitloom: version,
      onnxRuntime: onnxRuntimeVersion(),
      model: await fingerprintModel(subject.model),
      data: data.calibrate.fingerprint,
      quantizer: names.quantizer,
      quantize: methods.quantize,
      correction: [correction.name, correction.options],
      picks: picks.map(({ layer, format }) => [layer, format.id]),
    }),
  );
}
