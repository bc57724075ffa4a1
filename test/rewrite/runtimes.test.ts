/**
 * Written files on every ONNX Runtime that users have: the newest for Node, the one for the browser (WebAssembly), and
 * 1.24.3 for Node, which transformers.js ships. The last is looked for in the folder named by BITLOOM_ORT_1243.
 */
import { existsSync } from "node:fs";
import { beforeAll, describe, expect, test } from "vitest";
import type { Feeds } from "../../src/core/feeds.ts";
import { formatGrid, integerBits, parseFormat } from "../../src/core/format.ts";
import { findLayers } from "../../src/layers/index.ts";
import {
  editModel,
  encodeModel,
  type Model,
  memoryTensor,
  openModel,
} from "../../src/onnx/index.ts";
import { rewriteModel, type Target, type TargetName, targets } from "../../src/rewrite/index.ts";
import { type OrtJob, type OrtResult, ortBuilds, runInProcess } from "./ort-processes.ts";
import { quantizedLayer, usesModel } from "./quantized-model.ts";
import { relativeError } from "./uses.ts";

/** A whole model in one format. */
interface Variant {
  readonly target: TargetName;
  readonly format: string;
  readonly functionBody?: "packed";
}

const of = (target: TargetName, ...formats: readonly string[]): readonly Variant[] =>
  formats.map((format) => ({ target, format }));
const exactVariants: readonly Variant[] = [
  ...of("portable", ...integerBits.flatMap((bits) => [`int${bits}-b32-asym`, `int${bits}-b64`])),
  ...of("portable", "float16"),
  { target: "portable", format: "int3-b32-asym", functionBody: "packed" },
  { target: "portable", format: "int5-b64", functionBody: "packed" },
  ...of("qdq", "int8-row", "int8-row-asym"),
];
/** Written with accuracy_level 4. Errors seen over all builds: 1e-6 (web) to 0.034 on tiny-lm, 0.079 on stories260k. */
const fastVariants: readonly Variant[] = of(
  "ort",
  ...[2, 4, 6, 8].flatMap((bits) => [`int${bits}-b32-s32`, `int${bits}-b64-asym-s32`]),
);

/** K = 172 of stories260k is no multiple of any block. */
const languageModels: readonly (readonly [name: string, path: string])[] = [
  ["tiny-lm", "calibration/tiny-lm/model.onnx"],
  ["stories260k", "../shared/models/stories260k/model.onnx"],
];
const tokens: Feeds = {
  input_ids: {
    dtype: "int64",
    shape: [1, 32],
    data: BigInt64Array.from({ length: 32 }, (_, i) => BigInt((i * 37 + 5) % 512)),
  },
};

/** What one run must give; several runs may share a label. */
interface Check {
  readonly label: string;
  readonly job: OrtJob;
  readonly expected: ReadonlyMap<string, Float64Array>;
}

const labelOf = (model: string, { target, format, functionBody }: Variant) =>
  `${model}, ${target} ${format}${functionBody ? `, ${functionBody} body` : ""}`;

async function languageModelChecks(name: string, path: string): Promise<Check[]> {
  const model = await openModel(path);
  const { layers } = findLayers(model.graph);
  const written: { variant: Variant; bytes: Uint8Array }[] = [];
  const references: OrtJob[] = [];
  for (const variant of [...exactVariants, ...fastVariants]) {
    const format = parseFormat(variant.format);
    const quantized = await Promise.all(layers.map((layer) => quantizedLayer(layer, format)));
    const { target, functionBody } = variant;
    const rewritten = rewriteModel(model, quantized, { target, functionBody });
    written.push({ variant, bytes: await encodeModel(rewritten) });
    const replaced = await encodeModel(withWeights(model, quantized));
    references.push({ model: replaced, optimize: "none", feeds: tokens });
  }
  const expected = await runInProcess(ortBuilds[0], references);
  return written.flatMap(({ variant, bytes }, i) =>
    (["none", "all"] as const).map((optimize) => ({
      label: labelOf(name, variant),
      job: { model: bytes, optimize, feeds: tokens },
      expected: new Map([...outputsOf(expected[i])].map(([n, y]) => [n, Float64Array.from(y)])),
    })),
  );
}

/** The float model with the dequantized weights in place of its own. */
function withWeights(
  model: Model,
  quantized: readonly Awaited<ReturnType<typeof quantizedLayer>>[],
): Model {
  const editor = editModel(model);
  for (const { layer, meaning } of quantized) {
    const { dtype, shape, data } = layer.toStored(meaning);
    editor.removeInitializer(layer.weight);
    editor.addInitializer(memoryTensor(layer.weight, dtype, shape, data as Float32Array));
  }
  return editor.commit();
}

function outputsOf(result: OrtResult): ReadonlyMap<string, Float32Array> {
  if ("error" in result) throw new Error(result.error);
  return result.outputs;
}

const usesShapes = [
  { n: 37, k: 172, opset: 18 },
  { n: 24, k: 96, opset: 21 },
  { n: 24, k: 172, opset: 25 },
  { n: 24, k: 120, opset: 9 },
];
const usesLabel = (target: string, bits: number) => `every use, ${target} int${bits}`;

async function usesChecks(name: TargetName, bits: number): Promise<Check[]> {
  const target: Target = { ...targets[name], accuracyLevel: undefined };
  const formats = formatGrid([bits], [0, 32, 128], target.scaleType);
  const checks: Check[] = [];
  for (const { opset, ...shape } of usesShapes) {
    const model = await usesModel({ target, formats, shape, opset });
    if (model.accepted.size === 0) continue;
    const bytes = await encodeModel(model.quantized);
    for (const optimize of ["none", "all"] as const) {
      const { feeds, expected } = model;
      checks.push({
        label: usesLabel(name, bits),
        job: { model: bytes, optimize, feeds },
        expected,
      });
    }
  }
  return checks;
}

const targetNames = Object.keys(targets) as TargetName[];
/** Widths that a target can hold in some opset of `usesShapes`. */
const widths: Readonly<Record<TargetName, readonly number[]>> = {
  portable: integerBits,
  ort: [2, 4, 6, 8],
  qdq: [2, 4, 8],
};
const present = languageModels.filter(([, path]) => existsSync(path));
let checks: Promise<Check[]> | undefined;
function allChecks(): Promise<Check[]> {
  checks ??= (async () => {
    const parts: Check[][] = [];
    for (const [name, path] of present) parts.push(await languageModelChecks(name, path));
    for (const name of targetNames) {
      for (const bits of widths[name]) parts.push(await usesChecks(name, bits));
    }
    return parts.flat();
  })();
  return checks;
}

for (const build of ortBuilds) {
  const missing =
    build.entry === undefined ? " (skipped: BITLOOM_ORT_1243 names no folder that holds it)" : "";
  describe.skipIf(build.entry === undefined)(`${build.name}${missing}`, () => {
    const errors = new Map<string, number[]>();
    const refusals = new Map<string, string>();
    beforeAll(async () => {
      const all = await allChecks();
      const jobs = all.map(({ job }) => job);
      for (const [i, result] of (await runInProcess(build, jobs)).entries()) {
        const { label, expected } = all[i];
        if ("error" in result) {
          refusals.set(label, result.error);
          continue;
        }
        const found = [...expected].map(([name, y]) =>
          relativeError(result.outputs.get(name) ?? [], y),
        );
        errors.set(label, [...(errors.get(label) ?? []), ...found]);
      }
    });
    const expectError = (label: string, bound: number) => {
      expect(refusals.get(label)).toBeUndefined();
      expect(Math.max(...(errors.get(label) ?? [Number.NaN]))).toBeLessThan(bound);
    };

    for (const [name, path] of languageModels) {
      const absent = existsSync(path) ? "" : ` (skipped: ${path} is missing)`;
      describe.skipIf(absent !== "")(`${name}${absent}`, () => {
        test.each(exactVariants.map((variant) => labelOf(name, variant)))(
          "%s: logits of the dequantized weights, relative error < 1e-4",
          (label) => expectError(label, 1e-4),
        );
        test.each(fastVariants.map((variant) => labelOf(name, variant)))(
          "%s: activations rounded to 8 bits, relative error < 0.1",
          (label) => expectError(label, 0.1),
        );
      });
    }

    for (const name of targetNames) {
      test.each(widths[name].map((bits) => usesLabel(name, bits)))(
        "%s, relative error < 1e-4",
        (label) => expectError(label, 1e-4),
      );
    }
  });
}
