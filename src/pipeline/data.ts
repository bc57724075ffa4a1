/**
 * The run's data: calibration, search and gate splits of one source, and what quality is reported on. Splits never
 * share a sample; without data of its own, evaluation takes a fourth split.
 */
import { resolve } from "node:path";
import { languageModelInputs, openDataset, protocols, splitDataset } from "../calibrate/index.ts";
import type { BosOption, Dataset, Protocol } from "../core/dataset.ts";
import { BitloomError } from "../core/errors.ts";
import type { Notice } from "../core/events.ts";
import type { Model } from "../onnx/index.ts";
import { hashFile } from "./output.ts";

export interface DataOptions {
  /** Text, .jsonl manifest or .npy; synthetic inputs when left out. */
  readonly calibration?: string | undefined;
  /** Data for the reported quality; held-out samples of the calibration data when left out. */
  readonly evaluate?: string | undefined;
  readonly tokenizer?: string | undefined;
  /** Tokens per window of calibration text; of evaluation text too, unless `protocol` says how that is cut. */
  readonly window?: number | undefined;
  /** "hf-2048" or "llama.cpp-512": window, stride and BOS of the evaluation text. */
  readonly protocol?: string | undefined;
  /** Applies where `window` does. */
  readonly bos?: BosOption | undefined;
  /** Calibration samples (windows of text); search and gate take a quarter each. Default 128. */
  readonly rows?: number | undefined;
  /** Most samples the quality is reported on. Default 128. */
  readonly evaluateRows?: number | undefined;
  readonly seed: number;
}

export interface RunData {
  readonly calibrate: Dataset;
  readonly search: Dataset;
  readonly gate: Dataset;
  readonly evaluate: Dataset;
  readonly notices: readonly Notice[];
}

const defaultRows = 128;
const defaultEvaluateRows = 128;

/**
 * Opens and splits the data.
 *
 * @throws bad-data, bad-option - see `openDataset` and `splitDataset`.
 */
export async function openData(model: Model, options: DataOptions): Promise<RunData> {
  const { calibration, evaluate, tokenizer, window, bos, seed } = options;
  const rows = options.rows ?? defaultRows;
  const evaluateRows = options.evaluateRows ?? defaultEvaluateRows;
  const share = Math.max(1, Math.ceil(rows / 4));
  const common = { graph: model.graph, modelPath: model.path, tokenizer, seed };
  const wanted = rows + 2 * share + (evaluate === undefined ? evaluateRows : 0);
  // A model with a fixed batch takes whole batches only; a manifest's samples are batches already.
  const { fixedBatch = 1 } = languageModelInputs(model.graph) ?? {};
  const unit = calibration !== undefined && /\.(jsonl|npy)$/i.test(calibration) ? 1 : fixedBatch;
  const source = await openDataset({
    ...common,
    path: calibration,
    window,
    bos,
    rows: calibration === undefined ? Math.max(4 * unit, syntheticRows(wanted)) : undefined,
  });
  const sizes = {
    calibrate: rows,
    search: share,
    gate: share,
    ...(evaluate === undefined ? { evaluate: evaluateRows } : {}),
  };
  const splits = splitDataset(source.samples, seed, sizes, source.overlap, unit);
  if (evaluate === undefined) refuseProtocol(options.protocol);
  const reported =
    evaluate === undefined ? source.select(splits.evaluate) : await openReported(model, options);
  return {
    calibrate: source.select(splits.calibrate),
    search: source.select(splits.search),
    gate: source.select(splits.gate),
    evaluate: reported,
    notices: await noticesOf(source, reported, options),
  };
}

/** What both data sets say, each once, and that they are the same one. */
async function noticesOf(
  source: Dataset,
  reported: Dataset,
  { calibration, evaluate }: DataOptions,
): Promise<Notice[]> {
  const both = [...source.notices, ...(evaluate === undefined ? [] : reported.notices)];
  const notices = new Map(both.map((notice) => [`${notice.code}\n${notice.message}`, notice]));
  if (calibration === undefined || evaluate === undefined) return [...notices.values()];
  const same =
    resolve(calibration) === resolve(evaluate) ||
    (await hashFile(calibration)) === (await hashFile(evaluate));
  if (!same) return [...notices.values()];
  return [
    ...notices.values(),
    {
      code: "evaluation-is-calibration",
      message: `"${evaluate}" is the calibration data too: the reported quality is not that of held-out data. Leave --evaluate out, or name other data.`,
    },
  ];
}

/** Opens the data that quality is reported on; synthetic without a path. */
export async function openReported(
  model: Model,
  options: Omit<DataOptions, "calibration" | "rows">,
): Promise<Dataset> {
  const { evaluate, tokenizer, window, bos, seed } = options;
  if (evaluate === undefined) refuseProtocol(options.protocol);
  const protocol = options.protocol === undefined ? undefined : namedProtocol(options.protocol);
  const rows = options.evaluateRows ?? defaultEvaluateRows;
  return openDataset({
    graph: model.graph,
    modelPath: model.path,
    tokenizer,
    seed,
    path: evaluate,
    rows: evaluate === undefined ? syntheticRows(rows) : rows,
    ...(protocol ? { protocol } : { window, bos }),
  });
}

/** Protocols say how an evaluation text is cut; the held-out windows of calibration have been cut already. */
function refuseProtocol(protocol: string | undefined): void {
  if (protocol === undefined) return;
  throw new BitloomError(
    "bad-option",
    `Option protocol: "${protocol}" needs a text to evaluate on, got none. Give one with --evaluate.`,
    { option: "protocol", got: protocol },
  );
}

/** Random inputs measure nothing better in large numbers. */
const syntheticRows = (wanted: number) => Math.min(wanted, 32);

function namedProtocol(name: string): Protocol {
  if (Object.hasOwn(protocols, name)) return protocols[name as keyof typeof protocols];
  throw new BitloomError(
    "bad-option",
    `Unknown protocol "${name}": expected one of ${Object.keys(protocols).join(", ")}.`,
    { option: "protocol", got: name },
  );
}
