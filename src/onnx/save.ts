/**
 * Writing a model to disk: whole or not at all, never over its own input, one tensor in memory at a time.
 * Invariant: everything is written to temporary files in the target folder, which are renamed at the end or removed.
 */
import { realpathSync, statSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { BitloomError, isBitloomError, throwIfAborted } from "../core/errors.ts";
import type { RunOptions } from "../core/events.ts";
import { tooLarge } from "./encode-model.ts";
import { externalLayout, inlineLayout } from "./layout.ts";
import { autoExternalBytes, maxMessageBytes } from "./limits.ts";
import { type StoredModel, storedModelOf } from "./model.ts";
import { PendingFiles } from "./pending-files.ts";
import { type Piece, rangePiece, readPiece } from "./piece.ts";
import type { ByteSource } from "./source.ts";
import type { Model } from "./types.ts";

export interface SaveOptions extends RunOptions {
  /** Where weights go: "auto" (default) moves them out of models above 1.8 GB; an unedited model stays as it is. */
  readonly externalData?: "auto" | "always" | "never";
  /** Replaces existing files. */
  readonly force?: boolean;
}

/** What was written. */
export interface SavedFiles {
  /** The .onnx file first, then external data. */
  readonly files: string[];
  /** Of all of them together. */
  readonly bytes: number;
}

interface OutputFile {
  readonly path: string;
  readonly piece: Piece;
}

/**
 * Writes a model. Without edits the bytes are those of the file it was opened from, and external data files are copied
 * beside it under their own names; otherwise external data goes to `<basename>.data`.
 *
 * @param path - of the .onnx file; its folder must exist.
 * @throws output - file exists (without `force`), is an input of the model, or cannot be written (no space, no
 *   permission, too large); aborted - the signal fired. No file is left behind either way.
 *
 * Cost: memory of the largest tensor.
 */
export async function saveModel(
  model: Model,
  path: string,
  options: SaveOptions = {},
): Promise<SavedFiles> {
  const stored = storedModelOf(model);
  const outputs = outputsOf(stored, path, options.externalData ?? "auto");
  for (const output of outputs) checkTarget(stored, output.path, options.force ?? false);
  const total = outputs.reduce((bytes, { piece }) => bytes + piece.byteLength, 0);
  const pending = new PendingFiles();
  let done = 0;
  try {
    for (const output of outputs) {
      const file = await pending.open(output.path);
      for await (const bytes of readPiece(output.piece)) {
        throwIfAborted(options.signal, "save");
        await file.write(bytes);
        done += bytes.byteLength;
        options.onEvent?.({ type: "progress", stage: "save", done, total, label: output.path });
      }
      await file.close();
    }
    throwIfAborted(options.signal, "save");
    // The .onnx file last: while it is missing, nobody reads half a model.
    await pending.commit([...outputs].reverse().map((output) => output.path));
  } catch (cause) {
    await pending.discard();
    if (isBitloomError(cause)) throw cause;
    throw new BitloomError(
      "output",
      `Cannot write "${path}" (${total} bytes): ${cause instanceof Error ? cause.message : String(cause)}. Nothing was left behind; free space or choose another folder.`,
      { path },
      { cause },
    );
  }
  return { files: outputs.map((output) => output.path), bytes: total };
}

function outputsOf(
  model: StoredModel,
  path: string,
  externalData: "auto" | "always" | "never",
): OutputFile[] {
  const { original, parts, graphParts } = model;
  const isCopy =
    original &&
    (externalData === "auto" || (externalData === "never" && original.external.length === 0));
  if (isCopy) {
    const copies = original.external.map(({ location, source }) => {
      return { path: join(dirname(path), location), piece: wholeFile(source) };
    });
    // Saved beside its original, the copy refers to the data that is already there.
    const missing = copies.filter(
      (copy) => !model.from.inputFiles.has(realPathOf(copy.path) ?? ""),
    );
    return [{ path, piece: wholeFile(original.source) }, ...missing];
  }
  const inline = inlineLayout(parts, graphParts).model;
  const isExternal =
    externalData === "always" || (externalData === "auto" && inline.byteLength > autoExternalBytes);
  if (!isExternal) {
    if (inline.byteLength > maxMessageBytes) throw tooLarge(inline.byteLength, path);
    return [{ path, piece: inline }];
  }
  const location = `${basename(path)}.data`;
  const { model: piece, data } = externalLayout(parts, graphParts, location);
  if (piece.byteLength > maxMessageBytes) throw tooLarge(piece.byteLength, path);
  if (data.byteLength === 0) return [{ path, piece }];
  return [
    { path, piece },
    { path: join(dirname(path), location), piece: data },
  ];
}

function wholeFile(source: ByteSource): Piece {
  return rangePiece({ source, start: 0, end: source.size });
}

function checkTarget(model: StoredModel, path: string, force: boolean): void {
  const realPath = realPathOf(path);
  if (realPath === undefined) return;
  const target = statSync(realPath);
  const isInput = [...model.from.inputFiles].some((input) => {
    const stat = statSync(input, { throwIfNoEntry: false });
    return input === realPath || (stat && stat.dev === target.dev && stat.ino === target.ino);
  });
  if (isInput) {
    const message = `Will not write to "${path}": the model is read from that file. Choose another name.`;
    throw new BitloomError("output", message, { path });
  }
  if (target.isDirectory()) {
    throw new BitloomError("output", `Cannot write "${path}": it is a folder. Give a file name.`, {
      path,
    });
  }
  if (!force) {
    const message = `"${path}" exists already. Choose another name, or allow replacing it with force.`;
    throw new BitloomError("output", message, { path });
  }
}

function realPathOf(path: string): string | undefined {
  try {
    return realpathSync(resolve(path));
  } catch {
    return undefined;
  }
}
