/**
 * What a user gets: the whole `quantize` with its defaults, file written and measured. Scores do not depend on the
 * budget, so all runs after the first are given those of the lab; the first is made both ways and must come out alike.
 */
import { join } from "node:path";
import {
  type LayerAlternatives,
  parsePin,
  quantize,
  type Scorer,
  type ScorerName,
} from "../../src/index.ts";
import { openScratch } from "../harness/scratch.ts";
import { measureFile, type WrittenFile } from "./files.ts";
import type { Bench } from "./measure.ts";
import type { Propagation } from "./plan.ts";

export interface DefaultRun extends Pick<WrittenFile, "bytes" | "quality"> {
  /** What the gates decided: "plan" or "uniform", "sequential" or "one-shot" (null without propagation). */
  readonly plan: string;
  readonly propagation: string | null;
  readonly formats: Readonly<Record<string, number>>;
}

export interface DefaultOptions {
  readonly budgetBytes: number;
  readonly propagation: Propagation;
  /** Layers that stay in float. */
  readonly floatLayers?: readonly string[];
}

export async function measureDefault(bench: Bench, options: DefaultOptions): Promise<DefaultRun> {
  const { journal, progress } = bench;
  const scorer = await journal.remember("default scorer", () => checkReplay(bench, options));
  const { budgetBytes, propagation, floatLayers = [] } = options;
  const key = JSON.stringify(["default", budgetBytes, propagation, floatLayers]);
  if (!journal.has(key)) {
    const start = performance.now();
    progress.expect("default", 1);
    const scores = await bench.scores("gptq", scorer);
    const { run } = await quantizeOnce(bench, options, replay(scores));
    journal.put(key, run);
    progress.done("default", `default, ${budgetBytes} bytes`, performance.now() - start);
  }
  return journal.get<DefaultRun>(key) as DefaultRun;
}

/** @returns the name of the scorer that is the default. */
async function checkReplay(bench: Bench, options: DefaultOptions): Promise<ScorerName> {
  const plain = await quantizeOnce(bench, options, undefined);
  const scorer = plain.scorer as ScorerName;
  const scores = await bench.scores("gptq", scorer);
  const replayed = await quantizeOnce(bench, options, replay(scores));
  if (plain.sha256 !== replayed.sha256) {
    throw new Error(
      "The default with the lab's scores wrote another file than the default itself.",
    );
  }
  return scorer;
}

async function quantizeOnce(
  { subject, weights }: Bench,
  { budgetBytes, propagation, floatLayers = [] }: DefaultOptions,
  scorer: Scorer | undefined,
): Promise<{ readonly run: DefaultRun; readonly scorer: string; readonly sha256: string }> {
  const scratch = openScratch();
  const output = join(scratch.path, "model.onnx");
  try {
    const { report } = await quantize(subject.model, {
      ...subject.data,
      // The file is measured below, as all files are.
      evaluateRows: 1,
      output,
      budget: `${(8 * budgetBytes) / (await weights())}bpw`,
      pins: floatLayers.map((layer) => parsePin(`${layer}=float32`)),
      ...(scorer && { scorer }),
      ...(propagation === "one-by-one" ? { sequential: false } : { correction: propagation }),
    });
    const { quality } = await measureFile(subject, output);
    const formats: Record<string, number> = {};
    for (const { format } of report.layers) formats[format] = (formats[format] ?? 0) + 1;
    return {
      run: {
        quality,
        bytes: report.weightBytes,
        plan: report.gate?.written ?? "plan",
        propagation: report.propagation?.written ?? null,
        formats,
      },
      scorer: String(report.options.scorer),
      sha256: report.output.sha256,
    };
  } finally {
    scratch.close();
  }
}

/** A scorer that repeats known losses. */
function replay(scores: readonly LayerAlternatives[]): Scorer {
  const known = new Map(scores.map((entry) => [entry.layer, entry]));
  return {
    summary: "losses that were measured before",
    source: "the lab",
    needs: [],
    forward: false,
    unit: "nats per token",
    async score({ candidates }) {
      return new Map(
        candidates.map(({ layer, formats }) => {
          const entry = known.get(layer.id);
          const losses = formats.map((format) => {
            const found = entry?.alternatives.find((choice) => choice.format.id === format.id);
            if (found) return found.loss;
            throw new Error(`the lab has no score of "${layer.id}" in ${format.id}`);
          });
          return [layer.id, { losses, importance: entry?.importance }] as const;
        }),
      );
    },
  };
}
