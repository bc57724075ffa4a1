/**
 * What a long measurement depends on, as one hash: files, options and the built library itself, because a version
 * number stays the same while the code changes.
 */
import { createHash } from "node:crypto";
import { createReadStream, readdirSync, readFileSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { fileURLToPath } from "node:url";

/**
 * @param files - read in full; of external data beside a model only name, size and time of change.
 * @param options - JSON-safe.
 */
export async function fingerprint(files: readonly string[], options: unknown): Promise<string> {
  const hash = createHash("sha256").update(JSON.stringify(options));
  for (const file of files) {
    await pipeline(createReadStream(file), hash, { end: false });
    hash.update(JSON.stringify(besides(file)));
  }
  for (const file of libraryFiles()) hash.update(readFileSync(file));
  return hash.digest("hex");
}

/** External data of a model: files that begin with its name. */
function besides(file: string): readonly (readonly [string, number, number])[] {
  if (!file.endsWith(".onnx")) return [];
  const stem = basename(file).replace(/\.onnx$/, "");
  return readdirSync(dirname(file))
    .filter((name) => name.startsWith(stem) && name !== basename(file))
    .sort()
    .map((name) => {
      const { size, mtimeMs } = statSync(join(dirname(file), name));
      return [name, size, mtimeMs];
    });
}

/** The library beside this script, compiled or not. */
function libraryFiles(): string[] {
  return ["src", "native"].flatMap((name) => {
    const folder = fileURLToPath(new URL(`../../${name}`, import.meta.url));
    return readdirSync(folder, { recursive: true })
      .map((entry) => join(folder, String(entry)))
      .filter((path) => /\.(js|ts)$/.test(path) && !path.endsWith(".d.ts"))
      .sort();
  });
}
