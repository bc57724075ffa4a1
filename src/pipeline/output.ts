/**
 * Before and after writing: refuse what must not be overwritten, read back what was written.
 */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { realpath, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { BitloomError, invariant } from "../core/errors.ts";
import { openModel } from "../onnx/index.ts";

/**
 * Fails early, before any work, where `saveModel` would fail at the end.
 *
 * @throws output - the output is the input, exists already, or its folder does not exist.
 */
export async function checkOutput(input: string, output: string, force: boolean): Promise<void> {
  const fail = (message: string) => {
    throw new BitloomError("output", message, { path: output });
  };
  const folder = await realpath(dirname(output)).catch(() => undefined);
  if (folder === undefined)
    fail(`The folder of the output "${output}" does not exist. Create it, or choose another name.`);
  const target = await realpath(output).catch(() => join(folder ?? "", basename(output)));
  if (target === (await realpath(input).catch(() => input))) {
    fail(`The output "${output}" is the input model, which is never altered. Choose another name.`);
  }
  const existing = await stat(target).catch(() => undefined);
  if (existing?.isDirectory())
    fail(`The output "${output}" is a folder: expected a file name. Choose another name.`);
  if (existing && !force)
    fail(
      `The output "${output}" exists already. Pass --force to replace it, or choose another name.`,
    );
}

/**
 * Opens the written file and sums what the layers' tensors take.
 *
 * A difference to the plan is a bug, never the caller's mistake.
 */
export async function verifyOutput(
  path: string,
  original: ReadonlySet<string>,
  plannedBytes: number,
): Promise<void> {
  const written = await openModel(path);
  let bytes = 0;
  for (const [name, tensor] of written.graph.initializers) {
    if (!original.has(name)) bytes += tensor.byteLength;
  }
  invariant(
    bytes === plannedBytes,
    `"${path}" holds ${bytes} bytes of weights, planned were ${plannedBytes}`,
  );
}

/** sha256 of a file, hex. */
export async function hashFile(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path)) hash.update(chunk);
  return hash.digest("hex");
}
