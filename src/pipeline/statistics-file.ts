/**
 * Collected statistics as a file: a valid safetensors file (8-byte little-endian header length, JSON header, raw
 * arrays), so that other tools can read the arrays. Equal arrays of layers with one input are stored once.
 * Not here: collecting. Invariant: what is loaded equals what was saved, bit for bit.
 */
import { createHash } from "node:crypto";
import { type FileHandle, open } from "node:fs/promises";
import type { Dataset } from "../core/dataset.ts";
import { BitloomError, isBitloomError } from "../core/errors.ts";
import type { LayerId } from "../core/layer.ts";
import type { LayerStats, StatName } from "../core/stats.ts";
import { bytesOf } from "../core/tensor.ts";
import { fingerprint, type WriteFileOptions, writeWhole } from "./artefact.ts";

/** Statistics of one model on one data set. */
export interface CollectedStatistics {
  /** Fingerprint of the model's bytes. */
  readonly model: string;
  readonly data: {
    readonly description: string;
    readonly samples: number;
    /** Of the calibration split, with everything that decides its values: text, window, rows, seed. */
    readonly fingerprint: string;
  };
  /** What was collected for every layer. */
  readonly needs: readonly StatName[];
  readonly layers: ReadonlyMap<LayerId, LayerStats>;
}

/** sha256 of what the statistics depend on; equal fingerprints mean equal statistics. */
export function statisticsFingerprint(
  statistics: Pick<CollectedStatistics, "model" | "data">,
): string {
  return fingerprint({ format, model: statistics.model, data: statistics.data.fingerprint });
}

const format = "bitloom-statistics-2";
/** Headers of 10 000 layers are a few megabytes; more than this is no header. */
const maxHeaderBytes = 64 * 2 ** 20;

interface TensorEntry {
  readonly dtype: "F32" | "F64";
  readonly shape: readonly number[];
  readonly data_offsets: readonly [start: number, end: number];
}

interface Description extends Omit<CollectedStatistics, "layers"> {
  readonly fingerprint: string;
  /** sha256, hex, of everything after the header. */
  readonly payload: string;
  /** Numbers as they are; arrays by the name of their tensor. */
  readonly layers: readonly {
    readonly layer: LayerId;
    readonly tokens: number;
    readonly values: Readonly<Record<string, number | string>>;
  }[];
}

/**
 * Writes statistics.
 *
 * @throws output - see `WriteFileOptions`; nothing is left behind.
 */
export async function saveStatistics(
  statistics: CollectedStatistics,
  path: string,
  options: WriteFileOptions = {},
): Promise<void> {
  const tensors: Record<string, TensorEntry> = {};
  const arrays: (Float32Array | Float64Array)[] = [];
  const known = new Map<string, string>();
  let size = 0;
  const store = (array: Float32Array | Float64Array): string => {
    const dtype = array instanceof Float64Array ? "F64" : "F32";
    // Zeros of both types have the same bytes.
    const key = dtype + createHash("sha256").update(bytesOf(array)).digest("hex");
    const stored = known.get(key);
    if (stored !== undefined) return stored;
    const name = `t${arrays.length}`;
    tensors[name] = {
      dtype,
      shape: [array.length],
      data_offsets: [size, size + array.byteLength],
    };
    known.set(key, name);
    arrays.push(array);
    size += array.byteLength;
    return name;
  };
  // Listing the layers fills `arrays`, which the checksum is of.
  const layers = [...statistics.layers.values()].map((entry) => ({
    layer: entry.layer,
    tokens: entry.tokens,
    values: Object.fromEntries(
      statistics.needs.flatMap((name) => {
        const value = entry[name];
        if (value === undefined) return [];
        return [[name, typeof value === "number" ? value : store(value)]];
      }),
    ),
  }));
  const payload = createHash("sha256");
  for (const array of arrays) payload.update(bytesOf(array));
  const description: Description = {
    fingerprint: statisticsFingerprint(statistics),
    payload: payload.digest("hex"),
    model: statistics.model,
    data: statistics.data,
    needs: statistics.needs,
    layers,
  };
  const metadata = { format, [format]: JSON.stringify(description) };
  const json = JSON.stringify({ __metadata__: metadata, ...tensors });
  const text = new TextEncoder().encode(json);
  const header = new Uint8Array(Math.ceil(text.length / 8) * 8).fill(0x20);
  header.set(text);
  const length = new Uint8Array(8);
  new DataView(length.buffer).setBigUint64(0, BigInt(header.length), true);
  await writeWhole(path, [length, header, ...arrays.map(bytesOf)], options);
}

/**
 * Reads statistics that `saveStatistics` wrote.
 *
 * @throws bad-option - no readable statistics file.
 */
export async function loadStatistics(path: string): Promise<CollectedStatistics> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(path, "r");
    return await readStatistics(handle);
  } catch (cause) {
    if (isBitloomError(cause)) throw cause;
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new BitloomError(
      "bad-option",
      `Cannot read the statistics "${path}": expected a file of quantize calibrate, got ${why}. Make it again with quantize calibrate.`,
      { option: "stats", got: path },
      { cause },
    );
  } finally {
    await handle?.close();
  }
}

async function readStatistics(handle: FileHandle): Promise<CollectedStatistics> {
  const { size } = await handle.stat();
  const head = await readBytes(handle, 0, 8, size);
  const headerBytes = Number(new DataView(head.buffer).getBigUint64(0, true));
  if (headerBytes > maxHeaderBytes) throw new Error("another kind of file");
  const text = new TextDecoder().decode(await readBytes(handle, 8, headerBytes, size));
  const { __metadata__, ...tensors } = JSON.parse(text) as Record<string, unknown>;
  const description = JSON.parse(
    (__metadata__ as Record<string, string>)[format] ?? "null",
  ) as Description | null;
  if (!description) throw new Error("another kind or version of file");
  const start = 8 + headerBytes;
  const arrays = new Map<string, Float32Array | Float64Array>();
  const payload = createHash("sha256");
  for (const [name, entry] of Object.entries(tensors as Record<string, TensorEntry>)) {
    const [from, to] = entry.data_offsets;
    const { buffer } = await readBytes(handle, start + from, to - from, size);
    payload.update(new Uint8Array(buffer));
    arrays.set(name, entry.dtype === "F64" ? new Float64Array(buffer) : new Float32Array(buffer));
  }
  if (payload.digest("hex") !== description.payload) throw new Error("a damaged file");
  const { model, data, needs } = description;
  const lookUp = (value: number | string | undefined) =>
    typeof value === "string" ? arrays.get(value) : value;
  const layers = new Map(
    description.layers.map(({ layer, tokens, values }) => {
      const entries = needs.map((name) => [name, lookUp(values[name])]);
      const stats = { layer, tokens, ...Object.fromEntries(entries) } as LayerStats;
      return [layer, stats] as const;
    }),
  );
  const loaded = { model, data, needs, layers };
  if (statisticsFingerprint(loaded) !== description.fingerprint) {
    throw new Error("a fingerprint that does not belong to its content");
  }
  return loaded;
}

async function readBytes(
  handle: FileHandle,
  offset: number,
  length: number,
  size: number,
): Promise<Uint8Array<ArrayBuffer>> {
  if (!(length >= 0 && offset >= 0 && offset + length <= size)) throw new Error("a truncated file");
  const bytes = new Uint8Array(length);
  for (let done = 0; done < length; ) {
    const { bytesRead } = await handle.read(bytes, done, length - done, offset + done);
    if (bytesRead === 0) throw new Error("a truncated file");
    done += bytesRead;
  }
  return bytes;
}

/**
 * Refuses statistics of another model or other data, and those that lack what is needed now.
 *
 * @throws bad-option - names what differs.
 */
export function checkStatistics(
  statistics: CollectedStatistics,
  wanted: { readonly model: string; readonly data: Dataset; readonly needs: readonly StatName[] },
): void {
  const refuse = (expected: string, got: string) => {
    throw new BitloomError(
      "bad-option",
      `The statistics are stale: expected ${expected}, got ${got}. Run quantize calibrate again with the options of this run.`,
      { option: "stats", got },
    );
  };
  if (statistics.model !== wanted.model) {
    refuse(
      `those of this model (sha256 ${wanted.model.slice(0, 12)}…)`,
      `those of another one (${statistics.model.slice(0, 12)}…)`,
    );
  }
  const { data } = statistics;
  if (data.fingerprint !== wanted.data.fingerprint) {
    refuse(
      `${wanted.data.samples} samples of ${wanted.data.description} (sha256 ${wanted.data.fingerprint.slice(0, 12)}…)`,
      `${data.samples} samples${data.description === wanted.data.description ? "" : ` of ${data.description}`} (${data.fingerprint.slice(0, 12)}…)`,
    );
  }
  const missing = wanted.needs.filter((name) => !statistics.needs.includes(name));
  if (missing.length > 0) {
    refuse(`${missing.join(", ")} too`, `only ${statistics.needs.join(", ") || "none"}`);
  }
}
