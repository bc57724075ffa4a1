/**
 * Two model files on the same data: what quantization has cost. Any two models with the same inputs and outputs.
 */
import { describeProtocol } from "../calibrate/index.ts";
import { BitloomError } from "../core/errors.ts";
import type { Notice } from "../core/events.ts";
import { chooseLoss, evaluateModels } from "../evaluate/index.ts";
import { type Model, openModel } from "../onnx/index.ts";
import { type QualityReport, reportQuality } from "../report/index.ts";
import { createRuntime } from "../runtime/index.ts";
import { version } from "../version.ts";
import { type DataOptions, openReported } from "./data.ts";
import { createJournal } from "./journal.ts";
import type { RunSettings } from "./options.ts";

/** Options of `evaluateFiles`. */
export interface EvaluateFileOptions
  extends Omit<DataOptions, "calibration" | "rows" | "seed">,
    RunSettings {}

/** What `evaluateFiles` measured; the document of `quantize evaluate --json`. */
export interface EvaluationReport {
  readonly version: 1;
  readonly command: "evaluate";
  readonly bitloom: string;
  readonly float: { readonly path: string; readonly bytes: number };
  readonly quantized: { readonly path: string; readonly bytes: number };
  readonly quality: QualityReport;
  readonly notices: readonly Notice[];
  /** Milliseconds per stage. */
  readonly timings: Readonly<Record<string, number>>;
}

/**
 * Measures a quantized model against its float original; on random inputs when no data is given.
 *
 * @throws bad-model, bad-data, bad-option, aborted - see `quantize`. unsupported - inputs or outputs differ.
 */
export async function evaluateFiles(
  floatPath: string,
  quantizedPath: string,
  options: EvaluateFileOptions = {},
): Promise<EvaluationReport> {
  const { seed = 0, signal } = options;
  const journal = createJournal(options);
  const runtime = createRuntime({ threads: options.threads ?? 2 });
  try {
    const [float, quantized] = await journal.stage("open", () =>
      Promise.all([openModel(floatPath), openModel(quantizedPath)]),
    );
    requireSameFace(float, quantized);
    const dataset = await journal.stage("data", () => openReported(float, { ...options, seed }));
    for (const notice of dataset.notices) journal.notify(notice);
    const [quality] = await journal.stage("evaluate", () =>
      evaluateModels({
        float,
        quantized: [quantized],
        dataset,
        loss: chooseLoss(float.graph, dataset),
        runtime,
        memoryLimitBytes: options.memoryLimitBytes,
        signal,
        onEvent: journal.emit,
      }),
    );
    const { protocol } = dataset;
    return {
      version: 1,
      command: "evaluate",
      bitloom: version,
      float: { path: floatPath, bytes: float.fileBytes },
      quantized: { path: quantizedPath, bytes: quantized.fileBytes },
      quality: reportQuality(quality, dataset, protocol ? describeProtocol(protocol) : ""),
      notices: journal.notices,
      timings: journal.timings,
    };
  } finally {
    await runtime.close();
  }
}

function requireSameFace(float: Model, quantized: Model): void {
  for (const side of ["inputs", "outputs"] as const) {
    const [expected, got] = [float, quantized].map(({ graph }) =>
      graph[side].map(({ name, dtype }) => `"${name}" (${dtype ?? "no tensor"})`).sort(),
    );
    if (expected.join() === got.join()) continue;
    throw new BitloomError(
      "unsupported",
      `The models "${float.path}" and "${quantized.path}" have different ${side}: expected ${expected.join(", ")}, got ${got.join(", ")}. Compare a model with its own quantized form.`,
      { what: "evaluation" },
    );
  }
}
