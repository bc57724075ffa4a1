/**
 * Other tools on the same model: each writes its file in a process of its own, which is then measured here, on the same
 * windows as everything else. The scripts in `benchmarks/rivals/` are optional: what cannot be imported is left out.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { openDataset, openModel, saveModel, splitDataset } from "../../src/index.ts";
import { projectFolder } from "../harness/environment.ts";
import { openScratch } from "../harness/scratch.ts";
import type { Subject } from "../harness/subject.ts";
import { measureFile, type WrittenFile } from "./files.ts";
import type { Bench } from "./measure.ts";
import { npy } from "./npy.ts";

export interface RivalRun extends WrittenFile {
  readonly tool: string;
  readonly version: string;
  readonly method: string;
}

interface Tool {
  readonly python: string;
  readonly script: string;
  readonly tool: string;
  readonly version: string;
  readonly methods: readonly string[];
}

const scriptFolder = join(projectFolder, "benchmarks", "rivals");

/**
 * All methods of all tools that the Pythons have; of a tool that several have, a method is taken from the first where
 * it works. A method that fails is left out, with a word.
 *
 * @param pythons - paths: packages that exclude each other need several.
 */
export async function measureRivals(bench: Bench, pythons: readonly string[]): Promise<RivalRun[]> {
  const { journal, progress, subject } = bench;
  const scratch = openScratch();
  try {
    const scripts = readdirSync(scriptFolder).filter((name) => /^run_.*\.py$/.test(name));
    const tools = pythons.flatMap((python) =>
      scripts.flatMap((name) => openTool(join(scriptFolder, name), python, progress.note) ?? []),
    );
    const calibration = join(scratch.path, "calibration");
    if (tools.length > 0) await writeCalibration(subject, calibration);
    const runs: RivalRun[] = [];
    for (const { python, script, tool, version, methods } of tools) {
      const isDone = (method: string) =>
        runs.some((run) => run.tool === tool && run.method === method);
      const missing = methods.filter((method) => !isDone(method));
      progress.expect(tool, missing.length);
      for (const method of missing) {
        const start = performance.now();
        const key = `rival ${tool} ${version} ${method}`;
        const run = await journal.remember(key, async (): Promise<RivalRun | null> => {
          const folder = mkdtempSync(join(scratch.path, "run-"));
          // A copy of the model: there are tools that write into the file they are given.
          const [source, output] = ["source.onnx", "model.onnx"].map((name) => join(folder, name));
          const without = (reason: string) => {
            progress.note(`without ${tool}, ${method}: ${reason}`);
            return null;
          };
          try {
            await saveModel(await openModel(subject.model), source);
            const args = [script, "write", method, source, output, calibration];
            const failure = write(python, args, folder);
            if (failure) return without(failure);
            const written = await measureFile(subject, output);
            return written.bytes < written.floatBytes
              ? { tool, version, method, ...written }
              : without("its weights are no smaller than in float");
          } catch (error) {
            return without(`its file does not run: ${error}`);
          } finally {
            rmSync(folder, { recursive: true, force: true });
          }
        });
        if (run) runs.push(run);
        progress.done(tool, `${tool}, ${method}`, performance.now() - start);
      }
    }
    return runs;
  } finally {
    scratch.close();
  }
}

function openTool(script: string, python: string, note: (text: string) => void): Tool | undefined {
  const { status, stdout, stderr, error } = spawnSync(python, [script, "list"], {
    encoding: "utf8",
  });
  if (status === 0) {
    return { python, script, ...(JSON.parse(stdout) as Omit<Tool, "python" | "script">) };
  }
  note(`without ${script.slice(scriptFolder.length + 1)}: ${error?.message ?? lastLine(stderr)}`);
  return undefined;
}

/**
 * @param cwd - some tools leave files where they run.
 * @returns why it failed, or undefined.
 */
function write(python: string, args: readonly string[], cwd: string): string | undefined {
  const { status, stderr, error } = spawnSync(python, args, {
    ...{ cwd, encoding: "utf8" },
    maxBuffer: 2 ** 28,
  });
  return status === 0 ? undefined : (error?.message ?? lastLine(stderr));
}

const lastLine = (text: string) => text.trim().split("\n").at(-1) ?? "";

/** The calibration windows as arrays, `<index>.<input>.npy`: the very ones that the lab calibrates on. */
async function writeCalibration(subject: Subject, into: string): Promise<void> {
  const { calibration, tokenizer, window, rows, seed } = subject.data;
  const { graph, path: modelPath } = await openModel(subject.model);
  const source = await openDataset({
    graph,
    modelPath,
    path: calibration,
    tokenizer,
    window,
    seed,
  });
  const share = Math.ceil(rows / 4);
  const splits = splitDataset(
    source.samples,
    seed,
    { calibrate: rows, search: share, gate: share },
    source.overlap,
  );
  const dataset = source.select(splits.calibrate);
  mkdirSync(into);
  for (let index = 0; index < dataset.batches; index++) {
    const { feeds } = await dataset.batch(index);
    for (const [name, tensor] of Object.entries(feeds)) {
      const file = `${String(index).padStart(5, "0")}.${name}.npy`;
      writeFileSync(
        join(into, file),
        npy(tensor.dtype, tensor.shape, tensor.data as ArrayBufferView),
      );
    }
  }
}
