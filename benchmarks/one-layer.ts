/**
 * GPTQ of one 4096 × 4096 layer at int4-b128, factorization included, on one core and on two.
 *
 *   node dist/benchmarks/one-layer.js [--size 4096] [--results FILE]
 *
 * The machine's float64 peak is measured in the same process. One JSON line per measurement.
 */
import { appendFileSync } from "node:fs";
import { cpus } from "node:os";
import { parseArgs } from "node:util";
import { measureLayer } from "./pipeline/one-layer.ts";
import { peakGflops } from "./pipeline/peak.ts";

const { values: args } = parseArgs({
  options: { size: { type: "string", default: "4096" }, results: { type: "string" } },
});
const size = Number(args.size);
const machine = { node: process.versions.node, cpu: cpus()[0]?.model ?? "unknown" };
const peaks = { float32: peakGflops("float32"), float64: peakGflops("float64") };
console.log(
  `peak of one core, GFLOP/s: float32 ${peaks.float32.toFixed(1)}, float64 ${peaks.float64.toFixed(1)}`,
);
for (const threads of [1, 2]) {
  const shape = { rows: size, cols: size, tokens: 1024, format: "int4-b128" };
  for (const phase of await measureLayer(shape, threads)) {
    const { gflops, shareOfPeak } = phase;
    const speed =
      gflops && shareOfPeak ? [gflops.toFixed(1), `${Math.round(100 * shareOfPeak)} %`] : [];
    const columns = [phase.phase.padEnd(36), `${threads} threads`, `${phase.seconds.toFixed(2)} s`];
    console.log([...columns, `cpu ${phase.cpuSeconds.toFixed(2)} s`, ...speed].join("  "));
    if (args.results) {
      appendFileSync(args.results, `${JSON.stringify({ ...machine, peaks, ...phase })}\n`);
    }
  }
}
