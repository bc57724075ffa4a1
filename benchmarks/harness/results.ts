/**
 * Files of results: JSON lines, one per measurement, each complete by itself. Invariant: two measurements of the same
 * thing have equal keys, and only those.
 */
import { appendFileSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { describeEnvironment, type Environment, projectFolder } from "./environment.ts";
import type { Figure, FigureName } from "./figures.ts";

export type Key = Readonly<Record<string, string | number | boolean>>;

export interface Measurement {
  /** What was measured: everything that tells it from the other measurements of the benchmark. */
  readonly key: Key;
  readonly figures: Readonly<Partial<Record<FigureName, Figure>>>;
  /** What else there is to know; never compared. */
  readonly details?: Readonly<Record<string, unknown>> | undefined;
}

export interface ResultLine extends Measurement {
  readonly benchmark: string;
  readonly environment: Environment;
}

export interface ResultsFile {
  readonly path: string;
  write(measurement: Measurement): void;
}

/** `benchmarks/results/NAME.jsonl`, where committed results are. */
export const resultsPath = (name: string): string =>
  join(projectFolder, "benchmarks", "results", `${name}.jsonl`);

/** Where results go by default; a quick look is no result to keep. */
export const defaultResults = (name: string, isQuick: boolean): string =>
  isQuick ? join(tmpdir(), `${name}-quick.jsonl`) : resultsPath(name);

/** "kernels-node24": speed depends on the version of Node, quality does not. */
export const perNode = (name: string): string =>
  `${name}-node${process.versions.node.split(".")[0]}`;

/**
 * Begins a file of results.
 *
 * @param path - an existing file is replaced, unless `append`.
 */
export function openResults(
  benchmark: string,
  path: string,
  { seed = 0, append = false }: { readonly seed?: number; readonly append?: boolean } = {},
): ResultsFile {
  mkdirSync(dirname(path), { recursive: true });
  if (!append) rmSync(path, { force: true });
  const environment = describeEnvironment(seed);
  return {
    path,
    write(measurement) {
      const line: ResultLine = { benchmark, ...measurement, environment };
      appendFileSync(path, `${JSON.stringify(line)}\n`);
    },
  };
}

/** @throws Error - a line is no measurement; names file and line. */
export function readResults(path: string): ResultLine[] {
  return readFileSync(path, "utf8")
    .split("\n")
    .flatMap((text, at) => {
      if (text === "") return [];
      const line = parseLine(text);
      if (line) return [line];
      throw new Error(
        `${path}, line ${at + 1}: expected a measurement with benchmark, key, figures and environment.`,
      );
    });
}

function parseLine(text: string): ResultLine | undefined {
  try {
    const line = JSON.parse(text) as Partial<ResultLine>;
    const isObject = (value: unknown) => typeof value === "object" && value !== null;
    const { benchmark, key, figures, environment } = line;
    const isLine = typeof benchmark === "string" && [key, figures, environment].every(isObject);
    return isLine ? (line as ResultLine) : undefined;
  } catch {
    return undefined;
  }
}

/** Equal for equal keys, whatever the order of their entries. */
export function keyText(key: Key): string {
  const entries = Object.entries(key).sort(([a], [b]) => (a < b ? -1 : 1));
  return entries.map(([name, value]) => `${name} ${value}`).join(", ");
}
