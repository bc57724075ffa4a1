/**
 * Finished layers of a run, kept beside its output until the output is written: an interrupted run goes on from there.
 * Each layer is one file, written whole or not at all, with a checksum; whatever is damaged is made again.
 * Invariant: a folder that belongs to another run is never used, and what bitloom did not write is never removed.
 */
import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, rename, rm, rmdir, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { BitloomError } from "../core/errors.ts";
import { parseFormat } from "../core/format.ts";
import type { LayerId } from "../core/layer.ts";
import type { QuantizedTensor } from "../core/quantized.ts";
import type { PropagatedLayer } from "../report/index.ts";

export interface FinishedLayer {
  readonly quantized: QuantizedTensor;
  /** What the report says of it; plain JSON. */
  readonly note: PropagatedLayer;
}

export interface Checkpoint {
  readonly folder: string;
  /** Layers that were finished in earlier runs. */
  readonly resumed: ReadonlySet<LayerId>;
  save(layer: LayerId, finished: FinishedLayer): Promise<void>;
  load(layer: LayerId): Promise<FinishedLayer>;
  /** Removes its files, and the folder unless there is something else in it, after the output is written. */
  remove(): Promise<void>;
}

const manifestName = "run.json";
/** Names of the files that a checkpoint writes, finished or not. */
const isOwn = (name: string) => /^(run\.json|[0-9a-f]{32}\.layer)(\..*)?$/.test(name);
const magic = "bitloom layer 1\n";

interface Header {
  readonly layer: LayerId;
  readonly format: string;
  readonly rows: number;
  readonly cols: number;
  readonly scales: number;
  readonly zeroPoints: number | null;
  readonly note: PropagatedLayer;
  readonly sha256: string;
}

/**
 * Opens the checkpoint of a run, or begins one.
 *
 * @param fingerprint - of everything that the layers' bytes depend on: model, data, plan, methods, versions.
 * @throws output - the folder belongs to another run or to somebody else, or cannot be written.
 */
export async function openCheckpoint(folder: string, fingerprint: string): Promise<Checkpoint> {
  const manifest = join(folder, manifestName);
  const isThere = await stat(folder).catch(() => undefined);
  if (isThere) await requireOwn(folder, manifest, fingerprint);
  else {
    await writable(folder, async () => {
      await mkdir(folder);
      await writeAtomically(manifest, JSON.stringify({ version: 1, fingerprint }));
    });
  }
  const resumed = new Set<LayerId>();
  for (const name of await readdir(folder)) {
    const path = join(folder, name);
    if (name.endsWith(".part")) await rm(path, { force: true });
    if (!name.endsWith(".layer")) continue;
    const found = await readLayer(path);
    if (found && fileOf(found.layer) === name) resumed.add(found.layer);
    else await rm(path, { force: true });
  }
  return {
    folder,
    resumed,
    async save(layer, finished) {
      const chunks = encode(layer, finished);
      await writable(folder, () => writeAtomically(join(folder, fileOf(layer)), chunks));
    },
    async load(layer) {
      const path = join(folder, fileOf(layer));
      const found = await readLayer(path);
      if (found) return found.finished;
      throw new BitloomError(
        "output",
        `The checkpoint of layer "${layer}" in "${path}" was removed or damaged while it was needed. Run again: the layer will be quantized anew.`,
        { path },
      );
    },
    async remove() {
      const names = await readdir(folder).catch(() => []);
      await Promise.all(names.filter(isOwn).map((name) => rm(join(folder, name), { force: true })));
      // What somebody else put there keeps the folder.
      await rmdir(folder).catch(() => undefined);
    },
  };
}

async function requireOwn(folder: string, manifest: string, fingerprint: string): Promise<void> {
  const refuse = (why: string) => {
    throw new BitloomError(
      "output",
      `The checkpoint folder "${folder}" ${why}. Remove it to begin anew, or name another with --checkpoint.`,
      { path: folder },
    );
  };
  const text = await readFile(manifest, "utf8").catch(() => undefined);
  if (text === undefined) {
    const names = await readdir(folder).catch(() => [""]);
    if (names.some((name) => !name.startsWith(manifestName)))
      refuse("holds no checkpoint, but other files");
    await writable(folder, () =>
      writeAtomically(manifest, JSON.stringify({ version: 1, fingerprint })),
    );
    return;
  }
  let found: unknown;
  try {
    found = (JSON.parse(text) as { readonly fingerprint?: unknown }).fingerprint;
  } catch {
    refuse("is damaged");
  }
  if (found !== fingerprint) {
    refuse("belongs to another run: the model, the data, an option or a version has changed");
  }
}

/** Layer names may hold anything, so files are called by their hash. */
const fileOf = (layer: LayerId): string =>
  `${createHash("sha256").update(layer).digest("hex").slice(0, 32)}.layer`;

function encode(layer: LayerId, { quantized, note }: FinishedLayer): Uint8Array[] {
  const { format, rows, cols, codes, scales, zeroPoints } = quantized;
  const payload = [
    codes,
    new Uint8Array(scales.buffer, scales.byteOffset, scales.byteLength),
    ...(zeroPoints ? [zeroPoints] : []),
  ];
  const hash = createHash("sha256");
  for (const part of payload) hash.update(part);
  const header: Header = {
    layer,
    format: format.id,
    rows,
    cols,
    scales: scales.length,
    zeroPoints: zeroPoints?.length ?? null,
    note,
    sha256: hash.digest("hex"),
  };
  return [Buffer.from(`${magic}${JSON.stringify(header)}\n`), ...payload];
}

/** A layer's file; undefined when it is missing, cut short or damaged. */
async function readLayer(
  path: string,
): Promise<{ readonly layer: LayerId; readonly finished: FinishedLayer } | undefined> {
  const bytes = await readFile(path).catch(() => undefined);
  const end = bytes ? bytes.indexOf(10, magic.length) : -1;
  if (!bytes || end < 0 || bytes.toString("utf8", 0, magic.length) !== magic) return undefined;
  try {
    const header = JSON.parse(bytes.toString("utf8", magic.length, end)) as Header;
    const { rows, cols, zeroPoints } = header;
    const payload = new Uint8Array(bytes.subarray(end + 1));
    if (createHash("sha256").update(payload).digest("hex") !== header.sha256) return undefined;
    const scalesAt = rows * cols;
    const zerosAt = scalesAt + 4 * header.scales;
    if (payload.length !== zerosAt + (zeroPoints ?? 0)) return undefined;
    const quantized: QuantizedTensor = {
      format: parseFormat(header.format),
      rows,
      cols,
      codes: payload.slice(0, scalesAt),
      scales: new Float32Array(payload.slice(scalesAt, zerosAt).buffer),
      zeroPoints: zeroPoints === null ? undefined : payload.slice(zerosAt),
    };
    return { layer: header.layer, finished: { quantized, note: header.note } };
  } catch {
    return undefined;
  }
}

async function writeAtomically(path: string, content: string | readonly Uint8Array[]) {
  const part = `${path}.part`;
  await writeFile(part, typeof content === "string" ? content : Buffer.concat(content));
  await rename(part, path);
}

async function writable(folder: string, write: () => Promise<void>): Promise<void> {
  try {
    await write();
  } catch (cause) {
    throw new BitloomError(
      "output",
      `Cannot write the checkpoint folder "${folder}": ${(cause as Error).message}. Free some space or name another with --checkpoint; finished layers are kept.`,
      { path: folder },
      { cause },
    );
  }
}
