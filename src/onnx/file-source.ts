/**
 * A file as random access to bytes: Node's part, kept out of everything that a browser loads.
 * Invariant: no descriptor stays open, and bytes of a file that changed since it was opened are never handed out.
 */
import { closeSync, fstatSync, openSync, readSync, realpathSync, statSync } from "node:fs";
import { BitloomError } from "../core/errors.ts";
import type { ByteSource } from "./source.ts";

/** Small reads share a window of this size: indexing a file asks for a few bytes at a time. */
const windowBytes = 256 * 1024;
/** readSync refuses lengths above 2^31 − 1. */
const maxReadBytes = 2 ** 30;

/**
 * A file read by position. It is opened for each (windowed) read and closed again, so a model holds no descriptors
 * and needs no closing; a file that changed since is refused instead of misread.
 *
 * @throws bad-model - missing, a directory, unreadable, or changed since it was opened.
 */
export function fileSource(path: string): ByteSource {
  const { size, mtimeMs, realPath } = describeFile(path);
  let windowStart = 0;
  let window = new Uint8Array(0);
  return {
    label: path,
    size,
    realPath,
    read(offset, length) {
      if (length > windowBytes / 4) return readRange(path, offset, length, size, mtimeMs);
      if (offset < windowStart || offset + length > windowStart + window.length) {
        windowStart = offset;
        const wanted = Math.min(windowBytes, size - offset);
        window = readRange(path, offset, wanted, size, mtimeMs);
      }
      return window.subarray(offset - windowStart, offset - windowStart + length);
    },
    copy: (offset, length) => readRange(path, offset, length, size, mtimeMs),
  };
}

function describeFile(path: string): { size: number; mtimeMs: number; realPath: string } {
  try {
    const stat = statSync(path);
    if (stat.isFile())
      return { size: stat.size, mtimeMs: stat.mtimeMs, realPath: realpathSync(path) };
  } catch (cause) {
    throw new BitloomError(
      "bad-model",
      `Cannot open "${path}": ${reason(cause)}. Check the path.`,
      { file: path },
      { cause },
    );
  }
  throw new BitloomError(
    "bad-model",
    `Cannot open "${path}": expected a file, got something else (a folder?). Give the .onnx file itself.`,
    { file: path },
  );
}

function readRange(
  path: string,
  offset: number,
  length: number,
  size: number,
  mtimeMs: number,
): Uint8Array<ArrayBuffer> {
  let descriptor: number | undefined;
  try {
    descriptor = openSync(path, "r");
    const stat = fstatSync(descriptor);
    if (stat.size !== size || stat.mtimeMs !== mtimeMs)
      throw new Error("it changed since it was opened");
    const bytes = new Uint8Array(length);
    let done = 0;
    while (done < length) {
      const got = readSync(
        descriptor,
        bytes,
        done,
        Math.min(length - done, maxReadBytes),
        offset + done,
      );
      if (got === 0) throw new Error("it ended early");
      done += got;
    }
    return bytes;
  } catch (cause) {
    throw new BitloomError(
      "bad-model",
      `Cannot read ${length} bytes at byte ${offset} of "${path}": ${reason(cause)}. Open the model again.`,
      { file: path, where: `byte ${offset}` },
      { cause },
    );
  } finally {
    if (descriptor !== undefined) closeSync(descriptor);
  }
}

function reason(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause);
  const code = (cause as NodeJS.ErrnoException).code;
  if (code === "ENOENT") return "no such file";
  if (code === "EACCES" || code === "EPERM") return "permission denied";
  return cause.message;
}
