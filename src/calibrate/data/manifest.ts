/**
 * Datasets of complete feeds, for any model: JSON lines with one set of feeds each, or one .npy array.
 * Invariant: a manifest line is fed exactly as written; lines are never merged into larger batches.
 */

import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { basename, dirname, resolve } from "node:path";
import { pipeline } from "node:stream/promises";
import type { Dataset } from "../../core/dataset.ts";
import { BitloomError } from "../../core/errors.ts";
import { bytesOf, elementCount } from "../../core/tensor.ts";
import type { Graph, ValueInfo } from "../../onnx/types.ts";
import { createDataset, fingerprintOf } from "./dataset.ts";
import {
  convertFeed,
  describeInput,
  describeInputs,
  feedFrom,
  isFeedDType,
  type NumericFeed,
  validateFeeds,
} from "./feeds.ts";
import { readNpy } from "./npy.ts";

/** A string this long still decodes in every Node release; large arrays belong in .npy files. */
const maxManifestBytes = 256 * 2 ** 20;

export interface ManifestOptions {
  readonly graph: Graph;
  /** Only the first so many samples. */
  readonly rows?: number | undefined;
}

/**
 * Opens a JSON-lines manifest. Each line is an object `{ inputName: tensor }`, where a tensor is nested arrays of
 * numbers, `{ "dtype", "shape", "data" }` with flat data, or the path of a .npy file relative to the manifest.
 * Element types are converted to the graph's within floats and within integers.
 *
 * Cost: every .npy file is read once here for the fingerprint, and again when its line is fed.
 *
 * @throws bad-data - a line that is no such object or does not fit the graph; names file, line and input.
 */
export async function openManifest(path: string, options: ManifestOptions): Promise<Dataset> {
  const { graph } = options;
  const label = basename(path);
  const text = await readManifest(path);
  const lines = text
    .split("\n")
    .map((line, index) => ({ line, where: `line ${index + 1} of ${label}` }))
    .filter(({ line }) => line.trim() !== "");
  if (lines.length === 0) throw badData(label, "one JSON object per line", "an empty file");
  const folder = dirname(path);
  const hash = createHash("sha256").update(text);
  for (const { line, where } of lines) {
    for (const value of Object.values(parseLine(line, where))) {
      if (typeof value !== "string") continue;
      const file = resolve(folder, value);
      try {
        await pipeline(createReadStream(file), hash, { end: false });
      } catch (cause) {
        const got = (cause as NodeJS.ErrnoException).code ?? String(cause);
        throw badData(where, `a readable file "${file}"`, got, cause);
      }
    }
  }
  return createDataset(
    {
      description: `${label}: ${lines.length} samples`,
      kind: "manifest",
      graph,
      samples: lines.length,
      batchSize: 1,
      wholeBatches: false,
      fingerprint: hash.digest("hex"),
      async read([sample]) {
        const { line, where } = lines[sample];
        const feeds: Record<string, NumericFeed> = {};
        for (const [name, value] of Object.entries(parseLine(line, where))) {
          feeds[name] = await readTensor(value, inputInfo(graph, name, where), folder, where);
        }
        validateFeeds(feeds, graph, where);
        return { feeds };
      },
    },
    options.rows,
  );
}

/**
 * Opens one .npy array for a model with a single input. With one axis more than the input, each element of the leading
 * axis is one sample; with the input's own rank, the leading axis is the batch axis and is cut into samples of the
 * graph's fixed batch size, else of 1.
 *
 * @throws bad-data - several inputs, or a shape that cannot be cut so.
 */
export async function openNpy(path: string, options: ManifestOptions): Promise<Dataset> {
  const { graph } = options;
  const label = basename(path);
  const required = graph.inputs.filter(({ name }) => !graph.initializers.has(name));
  if (required.length !== 1) {
    throw badData(label, "a model with one input", `the inputs ${describeInputs(graph)}`);
  }
  const info = required[0];
  const tensor = convertFeed(info.name, await readNpy(path), wantedDType(info, label));
  const { samples, shape } = cutSamples(tensor, info, label);
  const size = elementCount(shape);
  return createDataset(
    {
      description: `${label}: ${samples} samples of [${shape.join(", ")}]`,
      kind: "manifest",
      graph,
      samples,
      batchSize: 1,
      wholeBatches: false,
      fingerprint: fingerprintOf({
        data: fingerprintOf(bytesOf(tensor.data)),
        dtype: tensor.dtype,
        shape,
      }),
      read([sample]) {
        const data = tensor.data.slice(sample * size, (sample + 1) * size);
        return { feeds: { [info.name]: { dtype: tensor.dtype, shape, data } } };
      },
    },
    options.rows,
  );
}

function cutSamples(
  tensor: NumericFeed,
  info: ValueInfo,
  label: string,
): { samples: number; shape: number[] } {
  const { shape } = tensor;
  const rank = info.shape?.length;
  if (rank !== undefined && shape.length === rank + 1 && shape[0] > 0) {
    return { samples: shape[0], shape: shape.slice(1) };
  }
  const declared = info.shape?.[0];
  const unit = typeof declared === "number" ? declared : 1;
  if (shape.length > 0 && (rank ?? shape.length) === shape.length && unit > 0) {
    const samples = shape[0] / unit;
    if (samples > 0 && Number.isInteger(samples)) {
      return { samples, shape: [unit, ...shape.slice(1)] };
    }
  }
  throw badData(
    label,
    `samples of "${info.name}" ${describeInput(info)} along a leading axis`,
    `[${shape.join(", ")}]`,
  );
}

async function readManifest(path: string): Promise<string> {
  try {
    const { size } = await stat(path);
    if (size > maxManifestBytes) {
      const got = `${size} bytes, which should be .npy files named in the manifest`;
      throw badData(path, `at most ${maxManifestBytes} bytes`, got);
    }
    return new TextDecoder("utf-8", { fatal: true }).decode(await readFile(path));
  } catch (cause) {
    if (cause instanceof BitloomError) throw cause;
    const got = (cause as NodeJS.ErrnoException).code ?? String(cause);
    throw badData(path, "a readable UTF-8 file", got, cause);
  }
}

function parseLine(line: string, where: string): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (cause) {
    throw badData(where, "a JSON object", line.slice(0, 40), cause);
  }
  if (isObject(value)) return value;
  throw badData(where, "a JSON object of input names", line.slice(0, 40));
}

function inputInfo(graph: Graph, name: string, where: string): ValueInfo {
  const known = graph.inputs.find((input) => input.name === name);
  const info = known ?? (graph.overridable.has(name) ? graph.valueInfo(name) : undefined);
  if (info) return info;
  throw badData(`"${name}" in ${where}`, `one of the inputs ${describeInputs(graph)}`, "its name");
}

async function readTensor(
  value: unknown,
  info: ValueInfo,
  folder: string,
  where: string,
): Promise<NumericFeed> {
  const { name } = info;
  const inside = ` in ${where}`;
  const dtype = wantedDType(info, where);
  if (typeof value === "string") {
    return convertFeed(name, await readNpy(resolve(folder, value)), dtype, inside);
  }
  if (isObject(value)) {
    return convertFeed(name, describedTensor(value, name, inside), dtype, inside);
  }
  const { shape, values } = flatten(value, name, inside);
  return feedFrom(name, dtype, shape, values, inside);
}

function describedTensor(
  value: Readonly<Record<string, unknown>>,
  name: string,
  inside: string,
): NumericFeed {
  const { dtype, shape, data, ...rest } = value;
  const extra = Object.keys(rest);
  const shapeIsValid =
    Array.isArray(shape) && shape.every((dim) => Number.isSafeInteger(dim) && dim >= 0);
  if (typeof dtype !== "string" || !isFeedDType(dtype) || !shapeIsValid || extra.length > 0) {
    const got = JSON.stringify({ dtype, shape, ...(extra.length > 0 && { extra }) });
    throw badData(
      `"${name}"${inside}`,
      `{ "dtype": "float32", "shape": [...], "data": [...] }`,
      got,
    );
  }
  return feedFrom(name, dtype, shape as number[], flatten(data, name, inside).values, inside);
}

/** Shape and elements of nested arrays; every array of one depth must have the same length. */
function flatten(
  value: unknown,
  name: string,
  inside: string,
): { shape: number[]; values: (number | boolean)[] } {
  const shape: number[] = [];
  for (let level = value; Array.isArray(level); level = level[0]) shape.push(level.length);
  const values: (number | boolean)[] = [];
  const visit = (item: unknown, depth: number): void => {
    if (depth === shape.length) {
      if (typeof item !== "number" && typeof item !== "boolean") {
        throw badData(
          `"${name}"${inside}`,
          "numbers",
          (JSON.stringify(item) ?? "nothing").slice(0, 40),
        );
      }
      values.push(item);
      return;
    }
    if (!Array.isArray(item) || item.length !== shape[depth]) {
      const got = Array.isArray(item) ? `${item.length} elements` : JSON.stringify(item);
      throw badData(`"${name}"${inside}`, `${shape[depth]} elements at depth ${depth}`, got);
    }
    for (const inner of item) visit(inner, depth + 1);
  };
  visit(value, 0);
  return { shape, values };
}

function wantedDType(info: ValueInfo, where: string): NumericFeed["dtype"] {
  if (isFeedDType(info.dtype)) return info.dtype;
  throw badData(where, "an input of numbers", `"${info.name}" ${describeInput(info)}`);
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function badData(input: string, expected: string, got: string, cause?: unknown): BitloomError {
  return new BitloomError(
    "bad-data",
    `Calibration data, ${input}: expected ${expected}, got ${got}.`,
    { input, expected, got },
    { cause },
  );
}
