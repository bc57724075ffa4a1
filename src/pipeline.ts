/**
 * The whole job, in order: open, calibrate, score, allocate, pass the gate, quantize, measure, save. No algorithm
 * lives here.
 */
import { rm } from "node:fs/promises";
import { parseBudget, toPlan } from "./allocate/index.ts";
import { describeProtocol } from "./calibrate/index.ts";
import { BitloomError } from "./core/errors.ts";
import type { RunNeeds } from "./core/needs.ts";
import type { BitPlan, LayerScore } from "./core/plan.ts";
import { evaluateModels } from "./evaluate/index.ts";
import { saveModel } from "./onnx/index.ts";
import { openRunAlgebra } from "./pipeline/algebra.ts";
import { type Choice, chooseFormats, replayPlan } from "./pipeline/choice.ts";
import { nameCulprit } from "./pipeline/culprit.ts";
import { describeDecision } from "./pipeline/decision.ts";
import { describeLayers } from "./pipeline/describe.ts";
import { describeEnvironment } from "./pipeline/environment.ts";
import { openHeld } from "./pipeline/held.ts";
import { createJournal } from "./pipeline/journal.ts";
import {
  plannedCorrection,
  type QuantizePipelineOptions,
  resolveCorrectionOptions,
  withPlanMethods,
} from "./pipeline/options.ts";
import { compareScores } from "./pipeline/other-scores.ts";
import { checkOutput, hashFile, verifyOutput } from "./pipeline/output.ts";
import { preflight } from "./pipeline/preflight.ts";
import { propagate } from "./pipeline/propagate.ts";
import { requireMeasurable, requireQuality } from "./pipeline/quality-bound.ts";
import { buildModel, type Opened, prepareRun, type Run } from "./pipeline/run.ts";
import { type QuantizeReport, reportQuality } from "./report/index.ts";
import { createRuntime } from "./runtime/index.ts";
import { version } from "./version.ts";

/** What a run leaves beside the written file. */
export interface QuantizeResult {
  readonly report: QuantizeReport;
  /** The plan that was written; `serializePlan` gives its file form. */
  readonly plan: BitPlan;
}

/**
 * Quantizes a model inside a budget and writes it.
 *
 * Same inputs, options and seed give the same bytes out, whatever the number of threads. On any failure nothing is
 * written; inputs are never altered.
 *
 * @param modelPath - the float model; float32, float16 or bfloat16 weights.
 * @throws BitloomError - of any code; see `ErrorDetails`.
 */
export async function quantize(
  modelPath: string,
  given: QuantizePipelineOptions,
): Promise<QuantizeResult> {
  refuseChoiceBesidePlan(given);
  const options = withPlanMethods(given);
  const { output, plan, signal, force = false } = options;
  const budget = plan ? undefined : parseBudget(requireBudget(options.budget));
  await checkOutput(modelPath, output, force);
  const journal = createJournal(options);
  const threads = options.threads ?? 2;
  const runtime = createRuntime({ threads });
  const algebra = openRunAlgebra({ threads });
  const arrays = openHeld(options.memoryLimitBytes);
  try {
    let needs: RunNeeds | undefined;
    const beforeWork = async (opened: Opened) => {
      needs = await journal.stage("preflight", () =>
        preflight(opened, { options, journal, runtime }),
      );
    };
    const context = { journal, runtime, algebra, arrays, needsScores: !plan, beforeWork };
    const prepared = await prepareRun(modelPath, options, context);
    requireMeasurable(prepared.reportLoss, options);
    const sha256 = await hashFile(modelPath);
    const choice = budget
      ? await chooseFormats(prepared, budget).catch(async (error) => {
          throw await nameCulprit(error, prepared, prepared.data.gate);
        })
      : replayPlan(prepared, plan as BitPlan);
    const { run, checkpoint, propagation, growth } = await propagate(prepared, choice, options);
    const model = buildModel(run, choice.picks);
    const layers = await journal.stage("quantize", () => describeLayers(run, choice));
    const scores = await journal.stage("compare", () => compareScores(run, choice));
    // Everything is rounded: the evaluation can have the memory of the factors.
    await algebra.rest();
    const [quality] = await journal.stage("evaluate", () =>
      evaluateModels({
        float: run.subject.model,
        quantized: [model],
        dataset: run.data.evaluate,
        loss: run.reportLoss,
        runtime,
        memoryLimitBytes: run.memoryLimitBytes,
        signal,
        onEvent: journal.emit,
      }).catch(async (error) => {
        throw await nameCulprit(error, run, run.data.evaluate);
      }),
    );
    try {
      requireQuality(quality, options);
    } catch (error) {
      // The result is known, so there is nothing to go on with.
      await checkpoint?.remove();
      throw error;
    }
    const saved = await journal.stage("save", async () => {
      const { externalData = "auto" } = options;
      const files = await saveModel(model, output, {
        force,
        externalData,
        ...(signal ? { signal } : {}),
      });
      try {
        await verifyOutput(output, storedBefore(run), quantizedBytes(choice.picks));
      } catch (error) {
        await Promise.all(files.files.map((file) => rm(file, { force: true })));
        throw error;
      }
      return files;
    });
    await checkpoint?.remove();
    const { protocol } = run.data.evaluate;
    const report: QuantizeReport = {
      version: 1,
      command: "quantize",
      commandLine: null,
      bitloom: version,
      environment: describeEnvironment(threads),
      model: {
        path: modelPath,
        bytes: run.subject.model.fileBytes,
        sha256,
      },
      output: {
        path: output,
        bytes: saved.bytes,
        files: saved.files,
        sha256: await hashFile(output),
      },
      preflight: needs ?? null,
      options: describeOptions(run, options),
      ...describeBytes(run, choice),
      scoreUnit: choice.scoreUnit,
      quality: reportQuality(
        quality,
        run.data.evaluate,
        protocol ? describeProtocol(protocol) : "",
      ),
      bounds: {
        maxKlDivergence: options.maxKlDivergence ?? null,
        maxPerplexityIncrease: options.maxPerplexityIncrease ?? null,
      },
      worstLayer: worstOf(layers),
      gate: choice.gate
        ? {
            written: choice.gate.winner,
            unit: run.searchLoss.unit,
            planLoss: choice.gate.planLoss,
            uniform: choice.gate.uniform ?? null,
            samples: run.data.gate.samples,
          }
        : null,
      decision: describeDecision(choice),
      scores,
      propagation,
      errorGrowth: growth,
      layers,
      skipped: run.subject.skipped,
      notices: journal.notices,
      timings: journal.timings,
    };
    return {
      report,
      plan: toPlan(choice.picks, {
        ...run.names,
        budgetBytes: choice.budgetBytes,
        quantize: { ...run.methods.quantize, ...plannedCorrection(options) },
      }),
    };
  } finally {
    arrays.close();
    await Promise.all([runtime.close(), algebra.release()]);
  }
}

/** A saved plan has chosen already: what chooses formats would be ignored. */
function refuseChoiceBesidePlan({ plan, ...options }: QuantizePipelineOptions): void {
  const choosing = ["budget", "scorer", "allocator", "formats", "minBits", "maxBits"] as const;
  const given = options.pins?.length ? "pins" : choosing.find((key) => options[key] !== undefined);
  if (!plan || given === undefined) return;
  throw new BitloomError(
    "bad-option",
    `Option ${given} does nothing beside a saved plan, which names every layer's format. Leave one of them out.`,
    { option: given },
  );
}

function requireBudget(budget: string | undefined): string {
  if (budget !== undefined) return budget;
  throw new BitloomError(
    "bad-option",
    "A budget is missing: expected bits per weight, a file size or a share of the float file, for example --budget 3.5bpw, 2.4MB or 25%.",
    { option: "budget" },
  );
}

/** Bytes that the rewriting adds as new tensors; layers left in float32 keep theirs. */
const quantizedBytes = (picks: readonly LayerScore[]) =>
  picks.reduce((sum, { format, bytes }) => sum + (format.id === "float32" ? 0 : bytes), 0);

/** Tensors of the float model, which are not counted as quantized weights. */
function storedBefore({ subject }: Run): ReadonlySet<string> {
  return new Set(subject.model.graph.initializers.keys());
}

/** All that decides the bytes of the output, defaults filled in; null where nothing was given and nothing is meant. */
function describeOptions(
  { names, methods, seed, data, memoryLimitBytes }: Run,
  options: QuantizePipelineOptions,
) {
  const { name: correction, options: parameters } = resolveCorrectionOptions(options);
  return {
    ...names,
    budget: options.budget ?? null,
    formats: methods.formats.map(({ id }) => id),
    minBits: options.minBits ?? null,
    maxBits: options.maxBits ?? null,
    pins: methods.pins.map(({ pattern, format }) => `${pattern}=${format.id}`),
    ...methods.quantize,
    correction: options.sequential === false ? "one-shot" : correction,
    correctionAlpha: parameters.alpha ?? null,
    correctionDamping: parameters.damping ?? null,
    functionBody: options.functionBody ?? "auto",
    externalData: options.externalData ?? "auto",
    memoryLimitBytes,
    seed,
    calibrationSamples: data.calibrate.samples,
    calibrationData: data.calibrate.description,
    calibrationFingerprint: data.calibrate.fingerprint,
    evaluationSamples: data.evaluate.samples,
    evaluationData: data.evaluate.description,
    evaluationFingerprint: data.evaluate.fingerprint,
  };
}

function describeBytes({ subject }: Run, { picks, budgetBytes }: Choice) {
  const weightBytes = picks.reduce((sum, { bytes }) => sum + bytes, 0);
  return {
    budgetBytes,
    weightBytes,
    floatWeightBytes: subject.floatWeightBytes,
    weights: subject.weights,
    bitsPerWeight: (8 * weightBytes) / subject.weights,
  };
}

function worstOf(layers: QuantizeReport["layers"]): QuantizeReport["worstLayer"] {
  return layers.reduce<QuantizeReport["worstLayer"]>((worst, { name, sqnrDb }) => {
    if (sqnrDb === null || (worst && worst.sqnrDb <= sqnrDb)) return worst;
    return { name, sqnrDb };
  }, null);
}
