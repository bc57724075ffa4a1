/**
 * Files on their way to disk: written under temporary names, then renamed together or removed together.
 * Invariant: until `commit`, no target is touched; after a failed `commit`, no new target is left.
 */
import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { type FileHandle, mkdir, open, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";

/** Small pieces are gathered, so that a thousand nodes do not cost a thousand system calls. */
const bufferBytes = 1 << 20;

interface PendingFile {
  readonly target: string;
  readonly temporary: string;
  readonly handle: FileHandle;
  isOpen: boolean;
}

export interface FileWriter {
  write(bytes: Uint8Array): Promise<void>;
  close(): Promise<void>;
}

export class PendingFiles {
  readonly #files: PendingFile[] = [];
  /** Targets that did not exist before and do now. */
  readonly #created: string[] = [];

  /** Starts a file; its content reaches `target` with `commit`. */
  async open(target: string): Promise<FileWriter> {
    const folder = dirname(target);
    if (this.#files.length > 0) await mkdir(folder, { recursive: true });
    const temporary = join(folder, `.${basename(target)}.${randomBytes(6).toString("hex")}.tmp`);
    const handle = await open(temporary, "wx");
    const file: PendingFile = { target, temporary, handle, isOpen: true };
    this.#files.push(file);
    let gathered: Uint8Array[] = [];
    let gatheredBytes = 0;
    const flush = async (): Promise<void> => {
      if (gatheredBytes === 0) return;
      await writeAll(handle, Buffer.concat(gathered));
      gathered = [];
      gatheredBytes = 0;
    };
    return {
      async write(bytes) {
        if (gatheredBytes + bytes.byteLength > bufferBytes) await flush();
        if (bytes.byteLength > bufferBytes) return writeAll(handle, bytes);
        gathered.push(bytes);
        gatheredBytes += bytes.byteLength;
      },
      async close() {
        await flush();
        await handle.sync();
        await handle.close();
        file.isOpen = false;
      },
    };
  }

  /** Renames every file to its target, in the order given. */
  async commit(order: readonly string[]): Promise<void> {
    for (const target of order) {
      const file = this.#files.find((candidate) => candidate.target === target);
      if (!file) continue;
      const isNew = !existsSync(target);
      await rename(file.temporary, target);
      if (isNew) this.#created.push(target);
    }
    await Promise.all([...new Set(order.map(dirname))].map(syncFolder));
  }

  /** Removes what was written. */
  async discard(): Promise<void> {
    for (const file of this.#files) {
      if (file.isOpen) await file.handle.close().catch(() => undefined);
      await rm(file.temporary, { force: true });
    }
    for (const target of this.#created) await rm(target, { force: true });
  }
}

async function writeAll(handle: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.byteLength; ) {
    // write() takes at most 2^31 − 1 bytes and may write fewer.
    const { bytesWritten } = await handle.write(
      bytes,
      done,
      Math.min(bytes.byteLength - done, 2 ** 30),
    );
    if (bytesWritten === 0) throw new Error("the disk takes no more bytes");
    done += bytesWritten;
  }
}

/** Makes the renames durable; Windows cannot open folders, and loses nothing by it. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r").catch(() => undefined);
  await handle?.sync().catch(() => undefined);
  await handle?.close();
}
