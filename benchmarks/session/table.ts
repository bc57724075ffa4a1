/**
 * The measurements of one model as a table, with the target.
 */
import { median } from "../harness/figures.ts";
import { columns } from "../harness/table.ts";
import type { Contestant } from "./contestants.ts";
import type { BenchmarkModel } from "./models.ts";

export interface Measured extends Contestant {
  /** Milliseconds per run of the prompt. */
  readonly prefill: number[];
  /** Milliseconds per decoded token. */
  readonly decode: number[];
  /** Relative L2 distance of the prompt's last logits from those of onnxruntime-node. */
  readonly error: number;
  readonly fallbackNodes: number;
  readonly nodes: number;
  /** Share of the time of all runs, 0 … 1. */
  readonly fallbackTime: number;
}

/** Decoding against onnxruntime-web with as many threads. */
const webTarget = 10;

export function printModel(
  { name, bytes }: BenchmarkModel,
  measured: readonly Measured[],
  promptTokens: number,
): void {
  const ours = (threads: number) =>
    measured.find((one) => one.library === "bitloom" && one.threads === threads);
  const own = ours(1);
  const fallback = own
    ? `${own.fallbackNodes} of ${own.nodes} nodes and ${(100 * own.fallbackTime).toFixed(1)}% of the time on the fallback`
    : "";
  console.log(`\n${name}: ${(bytes / 1e6).toFixed(1)} MB; bitloom has ${fallback}`);
  const rows = [
    ["library", "file", "threads", "prefill tok/s", "bitloom", "decode tok/s", "bitloom", "error"],
  ];
  for (const one of measured) {
    const { library, target, threads, error } = one;
    const times = (phase: "prefill" | "decode", tokens: number) => {
      const against = ours(threads);
      const speed = (of: Measured) => (1000 * tokens) / median(of[phase]);
      const ratio = against && library !== "bitloom" ? speed(against) / speed(one) : undefined;
      return [speed(one).toPrecision(4), ratio === undefined ? "" : ratioText(one, phase, ratio)];
    };
    rows.push([
      library,
      target === "ort" ? "ort, level 4" : target,
      `${threads}`,
      ...times("prefill", promptTokens),
      ...times("decode", 1),
      error.toExponential(1),
    ]);
  }
  console.log(columns(rows));
}

/** "12.3x", with the target where there is one and "<" where it is missed. */
function ratioText({ library }: Contestant, phase: "prefill" | "decode", ratio: number): string {
  const text = `${ratio.toFixed(2)}x`;
  if (library !== "onnxruntime-web" || phase !== "decode") return text;
  return `${text} (${webTarget}x)${ratio < webTarget ? " <" : ""}`;
}
