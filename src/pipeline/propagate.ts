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
import { buildModel, isSequential, type Run } from "./run.ts";
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
 * Cost: see `walkStreams`; one pass over the gate split for each of the two models, and `measureGrowth`.
 */
export async function propagate(
  run: Run,
  choice: Choice,
  options: QuantizePipelineOptions,
): Promise<Propagated> {
  const { journal, subject, searchLoss: loss, data, runtime } = run;
  const { signal } = options;
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
  const { sequential, candidate, qualities } = await journal.stage("propagate", async () => {
    const sequential = await quantizeSequentially(run, choice.picks, checkpoint).catch((error) => {
      throw sayWhereToGoOn(error, checkpoint);
    });
    const candidate: Run = { ...run, weights: sequential.weights };
    const candidates = run.plansRounded ? [candidate] : [candidate, run];
    const qualities = await measureModels({
      float: subject.model,
      quantized: candidates.map((one) => buildModel(one, choice.picks)),
      dataset: data.gate,
      loss,
      runtime,
      memoryLimitBytes: run.memoryLimitBytes,
      signal,
      onEvent: journal.emit,
    });
    return { sequential, candidate, qualities };
  });
  const [ofSequential, ofOneShot] = qualities.map((quality) => {
    const value = lossOf(quality);
    return Number.isNaN(value) ? Number.POSITIVE_INFINITY : value;
  });
  const isBetter = ofOneShot === undefined || ofSequential <= ofOneShot;
  if (!isBetter) {
    journal.notify({
      code: "one-shot-wins",
      message: `On the gate split layers rounded one by one are better (${ofOneShot.toPrecision(3)} against ${ofSequential.toPrecision(3)} ${loss.unit}); they are written. More calibration data helps the sequential ones.`,
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
      loss: { sequential: ofSequential, oneShot: ofOneShot ?? null },
      written: isBetter ? "sequential" : "one-shot",
    },
  };
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
