/** Whole runs on models and samples that a test makes: written to a folder, quantized, looked at. */
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isBitloomError } from "../../src/core/errors.ts";
import type { FeedTensor } from "../../src/core/feeds.ts";
import { parseFormat } from "../../src/core/format.ts";
import { encodeModel, type Model, openModel } from "../../src/onnx/index.ts";
import type { QuantizePipelineOptions } from "../../src/pipeline/options.ts";
import { type QuantizeResult, quantize } from "../../src/pipeline.ts";
import { createRuntime } from "../../src/runtime/index.ts";
import { normals, numbersOf } from "./toy-models.ts";

export type Samples = readonly Readonly<Record<string, FeedTensor>>[];

/** Samples "x" float32 [rows, width] of normal numbers, or of what a test makes of them. */
export const normalSamples = (
  count: number,
  [rows, width]: readonly [number, number],
  change: (values: Float32Array) => Float32Array = (values) => values,
): Samples =>
  Array.from({ length: count }, (_, i) => ({
    x: { dtype: "float32", shape: [rows, width], data: change(normals(rows * width, 100 + i)) },
  }));

export interface Workbench {
  readonly path: string;
  at(name: string): string;
  files(): string[];
  /** Writes model and samples and quantizes them to "out.onnx", data-free in its choices unless told otherwise. */
  run(
    model: Model,
    samples: Samples,
    options?: Partial<QuantizePipelineOptions>,
  ): Promise<QuantizeResult>;
  /** The error of such a run. */
  failure(...args: Parameters<Workbench["run"]>): Promise<{ code: string; message: string }>;
  /** First output of model files on one sample, flat. */
  outputs(names: readonly string[], sample: Samples[number]): Promise<number[][]>;
  remove(): void;
}

export function workbench(): Workbench {
  const path = mkdtempSync(join(tmpdir(), "bitloom-test-"));
  const at = (name: string) => join(path, name);
  const bench: Workbench = {
    path,
    at,
    files: () => readdirSync(path).sort(),
    async run(model, samples, options = {}) {
      await writeFile(at("model.onnx"), await encodeModel(model));
      await writeFile(at("data.jsonl"), samples.map(lineOf).join("\n"));
      return quantize(at("model.onnx"), {
        output: at("out.onnx"),
        calibration: at("data.jsonl"),
        budget: "5bpw",
        scorer: "weight-error",
        formats: ["int4-b16", "int8-b16"].map(parseFormat),
        force: true,
        ...options,
      });
    },
    async failure(...args) {
      const error = await bench.run(...args).then(
        () => undefined,
        (thrown: unknown) => thrown,
      );
      if (!isBitloomError(error)) throw new Error(`expected a BitloomError, got ${String(error)}`);
      return error;
    },
    async outputs(names, sample) {
      const runtime = createRuntime();
      try {
        return await Promise.all(
          names.map(async (name) => {
            const session = await runtime.open(await openModel(at(name)));
            const [result] = Object.values(await session.run(sample));
            return numbersOf(result);
          }),
        );
      } finally {
        await runtime.close();
      }
    },
    remove: () => rmSync(path, { recursive: true, force: true }),
  };
  return bench;
}

const lineOf = (sample: Samples[number]) =>
  JSON.stringify(
    Object.fromEntries(
      Object.entries(sample).map(([name, { dtype, shape, data }]) => [
        name,
        { dtype, shape, data: Array.from(data as ArrayLike<number | bigint>, Number) },
      ]),
    ),
  );
