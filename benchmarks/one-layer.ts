/**
 * GPTQ of one 4096 × 4096 layer at int4-b128, factorization included, on one core and on two.
 *
 *   node dist/benchmarks/one-layer.js [--size 4096] [--results FILE]
 *
 * The machine's float64 peak is measured in the same process. Part of `npm run bench:pipeline`.
 */
import { count, file, readArguments } from "./harness/arguments.ts";
import { rounded } from "./harness/figures.ts";
import { openResults } from "./harness/results.ts";
import { columns } from "./harness/table.ts";
import { measureLayer } from "./pipeline/one-layer.ts";
import { peakGflops } from "./pipeline/peak.ts";

const { values: args } = readArguments("bench:pipeline", {
  size: count("rows and columns of the layer", 4096),
  results: file("results are added to this file"),
});
const { size } = args;
const results = args.results && openResults("one-layer", args.results, { append: true });
const peaks = { float32: peakGflops("float32"), float64: peakGflops("float64") };
console.log(
  `peak of one core, GFLOP/s: float32 ${peaks.float32.toFixed(1)}, float64 ${peaks.float64.toFixed(1)}`,
);
const rows: string[][] = [["phase", "threads", "seconds", "cpu seconds", "GFLOP/s", "of the peak"]];
for (const threads of [1, 2]) {
  const shape = { rows: size, cols: size, tokens: 1024, format: "int4-b128" };
  for (const { phase, seconds, cpuSeconds, gflops, shareOfPeak } of await measureLayer(
    shape,
    threads,
  )) {
    const times = [seconds.toFixed(2), cpuSeconds.toFixed(2)];
    const speed =
      gflops && shareOfPeak ? [gflops.toFixed(1), `${Math.round(100 * shareOfPeak)} %`] : [];
    rows.push([phase, `${threads}`, ...times, ...speed]);
    if (!results) continue;
    results.write({
      key: { phase, threads, rows: size, cols: size },
      figures: {
        seconds: rounded(seconds),
        cpuSeconds: rounded(cpuSeconds),
        ...(gflops && { gflops: rounded(gflops) }),
      },
      details: { peaks, shareOfPeak },
    });
  }
}
console.log(columns(rows));
