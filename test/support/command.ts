/** Runs the built `quantize` in a scratch folder and hands back what it said and left. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { programPath } from "./build.ts";

export const tinyLm = fileURLToPath(new URL("../../calibration/tiny-lm/", import.meta.url));

/** Options that keep a run on tiny-lm near a second. */
export const quick = [
  ...["--calibration", join(tinyLm, "calibration.txt"), "--rows", "8", "--evaluate-rows", "8"],
  ...["--formats", "int4-b32,int8-b32", "--quantizer", "rtn"],
];

export interface Finished {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
  /** Called with each piece of standard output. */
  readonly onOutput?: (text: string) => void;
  /** Called with standard error so far whenever it grows. */
  readonly onError?: (text: string, child: ChildProcess) => void;
  /** Runs through this shell prefix, for limits: `ulimit -f 10`. */
  readonly shell?: string;
}

export function run(args: readonly string[], options: RunOptions = {}): Promise<Finished> {
  const { cwd, env, onError, onOutput, shell } = options;
  const [file, argv] = shell
    ? ["bash", ["-c", `${shell}; exec "$0" "$@"`, process.execPath, programPath, ...args]]
    : [process.execPath, [programPath, ...args]];
  const child = spawn(file, argv, { cwd, env: { ...process.env, NO_COLOR: "1", ...env } });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
    onOutput?.(text);
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
    onError?.(stderr, child);
  });
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => resolve({ code, signal, stdout, stderr }));
  });
}

/** A fresh folder; `files` lists everything in it, hidden ones too. */
export function scratch(): {
  readonly path: string;
  at(name: string): string;
  files(): string[];
  remove(): void;
} {
  const path = mkdtempSync(join(tmpdir(), "bitloom-cli-"));
  return {
    path,
    at: (name) => join(path, name),
    files: () => readdirSync(path, { recursive: true, encoding: "utf8" }).sort(),
    remove: () => rmSync(path, { recursive: true, force: true }),
  };
}
