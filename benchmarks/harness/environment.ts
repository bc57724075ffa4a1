/**
 * Where a measurement was made: goes into every line of results, and tells comparisons of two machines apart from
 * comparisons of two versions.
 */
import { execFileSync } from "node:child_process";
import { realpathSync } from "node:fs";
import { cpus, totalmem } from "node:os";
import { fileURLToPath } from "node:url";
import { version } from "../../src/index.ts";

export interface Environment {
  /** "linux-x64, 2 cores, 24 GB". */
  readonly machine: string;
  readonly cpu: string;
  readonly node: string;
  readonly bitloom: string;
  /** Short hash, with "+" where tracked files differ from it; null outside a repository. */
  readonly commit: string | null;
  readonly seed: number;
}

/** The project's folder; scripts run from `dist/benchmarks`, tests from `benchmarks`. */
export const projectFolder = fileURLToPath(
  new URL(import.meta.url.includes("/dist/") ? "../../.." : "../..", import.meta.url),
);

export function describeEnvironment(seed = 0): Environment {
  const cores = cpus();
  const gigabytes = Math.round(totalmem() / 2 ** 30);
  return {
    machine: `${process.platform}-${process.arch}, ${cores.length} cores, ${gigabytes} GB`,
    cpu: cores[0]?.model.trim() ?? "unknown",
    node: process.versions.node,
    bitloom: version,
    commit: commitOf(projectFolder),
    seed,
  };
}

function commitOf(folder: string): string | null {
  try {
    // An installed copy may lie inside somebody else's repository.
    if (realpathSync(git(folder, "rev-parse", "--show-toplevel")) !== realpathSync(folder))
      return null;
    // Results that are being written are no change of what is measured.
    const sources = ["--", ".", ":!benchmarks/results", ":!README.md"];
    const isChanged =
      git(folder, "status", "--porcelain", "--untracked-files=no", ...sources) !== "";
    return `${git(folder, "rev-parse", "--short", "HEAD")}${isChanged ? "+" : ""}`;
  } catch {
    return null;
  }
}

const git = (cwd: string, ...args: string[]): string =>
  execFileSync("git", args, { cwd, stdio: ["ignore", "pipe", "ignore"] })
    .toString()
    .trim();
