/**
 * Vitest's global setup: compiles the sources once, so that tests can spawn the program as users get it.
 * Skipped while the build is newer than every source file.
 */
import { execFileSync } from "node:child_process";
import { readdirSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "../..");

/** The built program. */
export const programPath = join(root, "dist/src/cli/main.js");

export default function build(): void {
  if (isCurrent()) return;
  const compiler = join(root, "node_modules/typescript/bin/tsc");
  try {
    execFileSync(process.execPath, [compiler, "-p", "tsconfig.build.json"], {
      cwd: root,
      encoding: "utf8",
    });
  } catch (error) {
    // Type errors fail the type check, not every test of modules that have none.
    const { stdout = "" } = error as { readonly stdout?: string };
    if (!isCurrent()) throw new Error(`The build failed:\n${stdout}`, { cause: error });
    console.warn(`The build has type errors:\n${stdout}`);
  }
}

function isCurrent(): boolean {
  const built = statSync(programPath, { throwIfNoEntry: false });
  if (!built) return false;
  const sources = ["src", "native"].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: "utf8" }).map((path) =>
      join(root, folder, path),
    ),
  );
  const files = [...sources, join(root, "tsconfig.json")];
  return files.every((path) => statSync(path).mtimeMs < built.mtimeMs);
}
