/**
 * Results of `bench:kernels` and `bench:session` as Markdown, for the README: this library beside both ONNX Runtimes,
 * wherever it stands. Pure.
 */
import { figureValue } from "../harness/figures.ts";
import type { ResultLine } from "../harness/results.ts";
import { markdownTable } from "../harness/table.ts";

const libraries = ["bitloom", "onnxruntime-web", "onnxruntime-node"];
/** The 4-bit product that is shown, on one thread. */
const shown = { what: "product", k: 2048, n: 5632, bits: 4, threads: 1 };

/** Results by Node's major version. */
type ByNode = Readonly<Record<string, readonly ResultLine[]>>;

/** Milliseconds of one 4-bit product, by library. */
export function productsTable(results: ByNode): string {
  const rows = Object.entries(results).flatMap(([node, lines]) =>
    [1, 128].map((m) => {
      const ms = libraries.map((library) => {
        const line = find(lines, { ...shown, library, m });
        return line ? figureValue(line.figures.ms).toPrecision(3) : "–";
      });
      return [`Node ${node}, ${m === 1 ? "1 row" : `${m} rows`}`, ...ms];
    }),
  );
  return markdownTable(["ms", ...libraries], rows, [false, true, true, true]);
}

/** Who runs which form of a model's file: all the same one, and onnxruntime-node also the one that is made for it. */
const runs = [
  { head: "bitloom", library: "bitloom", target: "portable" },
  { head: "web", library: "onnxruntime-web", target: "portable" },
  { head: "node", library: "onnxruntime-node", target: "portable" },
  { head: "node, `ort`", library: "onnxruntime-node", target: "ort" },
];

/** Tokens per second of whole models on one thread. */
export function sessionsTable(results: ByNode): string {
  const phases = ["prefill", "decode"];
  const rows = Object.entries(results).flatMap(([node, lines]) =>
    [...new Set(lines.map(({ key }) => String(key.model)))].map((model) => [
      `${model}, Node ${node}`,
      ...phases.flatMap((phase) =>
        runs.map(({ library, target }) => {
          const line = find(lines, { model, library, target, phase, threads: 1 });
          return line ? `${Number(figureValue(line.figures.tokensPerSecond).toPrecision(3))}` : "–";
        }),
      ),
    ]),
  );
  const heads = phases.flatMap((phase) => runs.map(({ head }) => `${phase}: ${head}`));
  return markdownTable(["tokens per second", ...heads], rows, [false, ...heads.map(() => true)]);
}

const find = (lines: readonly ResultLine[], entries: Readonly<Record<string, unknown>>) =>
  lines.find(({ key }) => Object.entries(entries).every(([name, value]) => key[name] === value));
