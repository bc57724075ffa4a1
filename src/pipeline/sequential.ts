/**
 * The quantize stage, layer after layer: each group is corrected for the error that reaches it and rounded against what
 * it will really see. Finished layers go to the checkpoint. No algorithm lives here.
 */
import { type StreamGroup, walkStreams } from "../calibrate/index.ts";
import type { Algebra } from "../core/algebra.ts";
import type { Dataset } from "../core/dataset.ts";
import { BitloomError, isBitloomError } from "../core/errors.ts";
import type { WeightFormat } from "../core/format.ts";
import type { Layer, LayerId } from "../core/layer.ts";
import type { LayerScore } from "../core/plan.ts";
import { dequantize, type QuantizedTensor } from "../core/quantized.ts";
import { joinStats, type LayerStats } from "../core/stats.ts";
import type { Matrix } from "../core/tensor.ts";
import { type Corrected, corrections, correctWeight } from "../correct/index.ts";
import { quantizeWeight } from "../quantize/index.ts";
import type { PropagatedLayer, PropagationReport } from "../report/index.ts";
import type { BatchSource } from "../runtime/index.ts";
import type { Checkpoint, FinishedLayer } from "./checkpoint.ts";
import type { ResolvedCorrection } from "./options.ts";
import { fewRows, rowsPerInput, thinLayers } from "./rows.ts";
import type { Run } from "./run.ts";
import { type HeldTensor, holdTensor, type WeightStore } from "./weights.ts";

/** What is known before the result is measured. */
export type Propagation = Omit<PropagationReport, "loss" | "written">;

/**
 * Quantizes the layers of a plan in topological order, with two streams of activations.
 *
 * @param checkpoint - finished layers are read from it and written to it; without one the run holds the codes.
 * @returns the run's weights, with these codes for the plan's formats.
 */
export async function quantizeSequentially(
  run: Run,
  picks: readonly LayerScore[],
  checkpoint: Checkpoint | undefined,
): Promise<{ readonly weights: WeightStore; readonly propagation: Propagation }> {
  const { subject, runtime, journal, options, memoryLimitBytes } = run;
  const { dataset, correction } = await judgedData(run);
  const formats = new Map(
    picks.flatMap(({ layer, format }) =>
      format.kind === "integer" ? [[layer, format] as const] : [],
    ),
  );
  const held = new Map<LayerId, HeldTensor>();
  const load = async (layer: LayerId) =>
    checkpoint ? (await checkpoint.load(layer)).quantized : held.get(layer)?.read();
  const resumed = new Set([...(checkpoint?.resumed ?? [])].filter((id) => formats.has(id)));
  const notes = new Map<LayerId, PropagatedLayer>();
  const thin: Layer[] = [];
  // Of these it has been said before: their rows are known, or calibration has counted them.
  const said = new Set(thinLayers(subject.layers, run.data.calibrate));
  const isSaid = (layer: Layer) =>
    said.has(layer) || run.stats.get(layer.id)?.hessian !== undefined;
  const round = async (group: StreamGroup) => {
    const rounded = new Map<LayerId, Matrix>();
    for (const layer of group.layers) {
      const format = formats.get(layer.id) as WeightFormat;
      const known = resumed.has(layer.id) ? await checkpoint?.load(layer.id) : undefined;
      const finished = known ?? (await finishLayer({ ...run, correction }, layer, format, group));
      if (!known) {
        if (checkpoint) await checkpoint.save(layer.id, finished);
        else held.set(layer.id, holdTensor(run.arrays, finished.quantized));
      }
      const rows = group.measured?.grams.rows ?? Number.POSITIVE_INFINITY;
      if (rows < rowsPerInput * layer.k && !isSaid(layer)) thin.push(layer);
      notes.set(layer.id, finished.note);
      rounded.set(layer.id, dequantize(finished.quantized));
    }
    return rounded;
  };
  const { peak } = await walkStreams({
    model: subject.model,
    layers: subject.layers.filter(({ id }) => formats.has(id)),
    dataset,
    runtime,
    memoryLimitBytes,
    needsHoldout: correction.method.needs.includes("holdout"),
    needsResidual: correction.method.needs.includes("residual"),
    isFinished: (layer) => resumed.has(layer),
    round,
    signal: options.signal,
    onEvent: journal.emit,
  });
  const usesGrams = run.quantizer.needs.includes("hessian") || correction.method.needs.length > 0;
  if (usesGrams && thin.length > 0) journal.notify(fewRows(thin, "saw"));
  const weights: WeightStore = {
    ...run.weights,
    async codes(layer, format): Promise<QuantizedTensor> {
      const finished = formats.get(layer.id)?.id === format.id ? await load(layer.id) : undefined;
      return finished ?? run.weights.codes(layer, format);
    },
  };
  return {
    weights,
    propagation: {
      correction: correction.name,
      resumed: resumed.size,
      ...peak,
      layers: subject.layers.flatMap(({ id }) => notes.get(id) ?? []),
    },
  };
}

/** Fewer batches than this leave none to judge by. */
const judgedBatches = 3;

/**
 * The calibration data in batches enough for a correction that judges by some of them; without a correction where
 * there are too few samples for that.
 */
async function judgedData({ data, correction, journal }: Run): Promise<{
  readonly dataset: BatchSource;
  readonly correction: ResolvedCorrection;
}> {
  const { calibrate } = data;
  const needsHoldout = correction.method.needs.includes("holdout");
  if (!needsHoldout || calibrate.batches >= judgedBatches)
    return { dataset: calibrate, correction };
  const parts = thirds(calibrate);
  if (parts) {
    const batches = parts.flatMap((part) =>
      Array.from({ length: part.batches }, (_, index) => () => part.batch(index)),
    );
    const dataset = { batches: batches.length, batch: (index: number) => batches[index]() };
    return { dataset, correction };
  }
  journal.notify({
    code: "no-correction",
    message: `Correction ${correction.name} judges by held-out samples, and there are only ${calibrate.samples}: layers are rounded in order, but not corrected. Give more data with --calibration or --rows.`,
  });
  return { dataset: calibrate, correction: { ...correction, ...uncorrected } };
}

const uncorrected = { name: "none", given: "none", method: corrections.none, options: {} } as const;

/** Three parts of consecutive samples; undefined where they do not fill a batch each. */
function thirds(dataset: Dataset): readonly Dataset[] | undefined {
  const cut = (part: number) => Math.floor((part * dataset.samples) / judgedBatches);
  try {
    return [0, 1, 2].map((part) =>
      dataset.select(Array.from({ length: cut(part + 1) - cut(part) }, (_, i) => cut(part) + i)),
    );
  } catch (error) {
    if (isBitloomError(error, "bad-data")) return undefined;
    throw error;
  }
}

/** False where the rows that reach a layer are not on both sides: an expert that few rows are routed to. */
function canBeJudged(
  { correction, journal }: Run,
  layer: Layer,
  measured: StreamGroup["measured"],
): boolean {
  if (!measured || measured.grams.rows === 0) return false;
  if (!correction.method.needs.includes("holdout")) return true;
  const { grams, holdout } = measured;
  if (holdout && holdout.rows < grams.rows) return true;
  journal.notify({
    code: "no-correction",
    layer: layer.id,
    message: `Correction ${correction.name} judges by held-out rows, but ${holdout ? "all" : "none"} of the rows that reach "${layer.id}" are held out: it is rounded, but not corrected. Give more data with --calibration or --rows.`,
  });
  return false;
}

/** See `PropagatedLayer.gain`. */
async function gainOf(
  { objective }: Corrected,
  weight: Matrix,
  measured: StreamGroup["measured"],
  algebra: Algebra,
): Promise<number | null> {
  const power = measured ? await algebra.quadraticForm(weight, measured.grams.hessian) : 0;
  return power > 0 ? (objective.before - objective.after) / power : null;
}

async function finishLayer(
  run: Run,
  layer: Layer,
  format: WeightFormat,
  { measured, relativeDrift }: StreamGroup,
): Promise<FinishedLayer> {
  const { algebra, quantizer, methods, journal, correction, options } = run;
  const { signal } = options;
  const oneShot = run.stats.get(layer.id) ?? ({ layer: layer.id, tokens: 0 } as LayerStats);
  const stats: LayerStats = measured
    ? joinStats(oneShot, { tokens: measured.grams.rows, hessian: measured.grams.hessian })
    : oneShot;
  const weight = await layer.readWeight();
  const quantize = (target: Matrix, feed?: Float64Array) =>
    quantizeWeight(
      {
        weight,
        target,
        feed,
        format,
        stats,
        options: { ...methods.quantize, onEvent: journal.emit },
        algebra,
      },
      quantizer,
    );
  try {
    // Of a grouped convolution only the Hessians are taken along: a correction knows one group.
    const correctable =
      layer.groups === 1 && canBeJudged(run, layer, measured) ? measured : undefined;
    const corrected =
      correctable &&
      (await correctWeight(
        {
          layer: layer.id,
          weight,
          grams: correctable.grams,
          holdout: correctable.holdout,
          activationOrder: methods.quantize.activationOrder,
          takesFeed: quantizer.takesFeed ?? false,
          options: { ...correction.options, signal, onEvent: journal.emit },
          algebra,
          quantize,
        },
        correction.given,
      ));
    const quantized =
      corrected?.quantized ?? (await quantize(corrected?.target ?? weight, corrected?.feed));
    const note: PropagatedLayer = {
      layer: layer.id,
      relativeDrift,
      alpha: corrected?.alpha ?? 0,
      damping: corrected?.damping ?? 0,
      gain:
        corrected && corrected.alpha > 0
          ? await gainOf(corrected, weight, measured, algebra)
          : null,
    };
    return { quantized, note };
  } catch (error) {
    if (!(error instanceof BitloomError) || error.message.includes(layer.id)) throw error;
    throw new BitloomError(error.code, `Layer "${layer.id}": ${error.message}`, error.detail, {
      cause: error,
    });
  }
}
