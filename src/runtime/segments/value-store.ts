/**
 * Values between two segments of a model, batch by batch: in memory up to a limit, in files beyond it.
 * Invariant: what was put in comes out bit for bit.
 */
import { mkdtemp, open, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BitloomError, invariant } from "../../core/errors.ts";
import type { FeedTensor, TensorData } from "../../core/feeds.ts";

/** Which of the models that run side by side. */
type Owner = string | number;

interface Entry {
  readonly dtype: FeedTensor["dtype"];
  readonly shape: readonly number[];
  readonly bytes: number;
  readonly place: TensorData | string;
  /** The typed array that the bytes of a file belong to. */
  readonly make: MakeArray;
}

/** A constructor, not a closure over the array, which would keep it in memory. */
type MakeArray = new (bytes: ArrayBuffer) => TensorData;

export class ValueStore {
  readonly #limit: number;
  readonly #entries = new Map<string, Entry>();
  #folder: Promise<string> | undefined;
  #inMemory = 0;
  #onDisk = 0;
  #files = 0;
  #peakMemory = 0;
  #peakDisk = 0;

  /** @param limitBytes - of values in memory. */
  constructor(limitBytes: number) {
    this.#limit = limitBytes;
  }

  /** Most bytes held at once so far. */
  get peak(): { readonly memoryBytes: number; readonly diskBytes: number } {
    return { memoryBytes: this.#peakMemory, diskBytes: this.#peakDisk };
  }

  async put(owner: Owner, batch: number, name: string, tensor: FeedTensor): Promise<void> {
    const { dtype, shape, data } = tensor;
    if (Array.isArray(data)) throw strings(name);
    const view = data as Exclude<TensorData, readonly string[]>;
    const bytes = view.byteLength;
    const make = view.constructor as MakeArray;
    const isLarge = this.#inMemory + bytes > this.#limit;
    const place = isLarge ? await this.#write(view) : data;
    if (isLarge) this.#onDisk += bytes;
    else this.#inMemory += bytes;
    this.#peakMemory = Math.max(this.#peakMemory, this.#inMemory);
    this.#peakDisk = Math.max(this.#peakDisk, this.#onDisk);
    this.#entries.set(keyOf(owner, batch, name), { dtype, shape, bytes, place, make });
  }

  async get(owner: Owner, batch: number, name: string): Promise<FeedTensor> {
    const entry = this.#entries.get(keyOf(owner, batch, name));
    invariant(entry, `value "${name}" of batch ${batch} was not kept`);
    const { dtype, shape, place, make } = entry;
    if (typeof place !== "string") return { dtype, shape, data: place };
    return { dtype, shape, data: new make(await readBytes(place, entry.bytes)) };
  }

  async drop(owner: Owner, batch: number, name: string): Promise<void> {
    const key = keyOf(owner, batch, name);
    const entry = this.#entries.get(key);
    if (!entry) return;
    this.#entries.delete(key);
    if (typeof entry.place !== "string") this.#inMemory -= entry.bytes;
    else {
      this.#onDisk -= entry.bytes;
      await rm(entry.place, { force: true });
    }
  }

  /** Forgets everything and removes the files. */
  async close(): Promise<void> {
    this.#entries.clear();
    const folder = await this.#folder?.catch(() => undefined);
    if (folder) await rm(folder, { recursive: true, force: true });
  }

  async #write(data: Exclude<TensorData, readonly string[]>): Promise<string> {
    let path = tmpdir();
    try {
      this.#folder ??= mkdtemp(join(path, "bitloom-values-"));
      path = join(await this.#folder, `${this.#files++}.bin`);
      await writeFile(path, new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    } catch (cause) {
      throw new BitloomError(
        "output",
        `Cannot keep activations in "${path}": ${(cause as Error).message}. Free some disk space, set TMPDIR to a larger disk, or use less calibration data.`,
        { path },
        { cause },
      );
    }
    return path;
  }
}

/** Of one read: Node ends the process where one has 2 GiB. */
const pieceBytes = 2 ** 30;

/** A buffer of its own, which `readFile` does not promise. */
async function readBytes(path: string, length: number): Promise<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  const file = await open(path);
  try {
    let done = 0;
    while (done < length) {
      const { bytesRead } = await file.read(bytes, done, Math.min(pieceBytes, length - done), done);
      if (bytesRead === 0) throw new Error(`"${path}" has lost its end`);
      done += bytesRead;
    }
  } finally {
    await file.close();
  }
  return bytes.buffer;
}

const keyOf = (owner: Owner, batch: number, name: string) => `${owner} ${batch} ${name}`;

const strings = (name: string) =>
  new BitloomError(
    "unsupported",
    `Value "${name}" holds strings, which cannot be kept between segments of a model. Raise --memory-limit above the size of the model, and use --one-shot.`,
    { what: "tensors of string", node: name },
  );
