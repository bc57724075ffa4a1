/**
 * Results of `bench:pipeline` as Markdown, for the README. Pure.
 */
import { figureValue } from "../harness/figures.ts";
import type { ResultLine } from "../harness/results.ts";
import { markdownTable } from "../harness/table.ts";

/** Stages shorter than this are left out of the table; the whole contains them. */
const leastSeconds = 1;

/** Seconds of each stage, and the most memory that the process held up to its end. */
export function stagesTable(lines: readonly ResultLine[]): string {
  const stages = lines.filter(({ benchmark }) => benchmark === "pipeline");
  const rows = stages.flatMap(({ key: { stage }, figures }) => {
    const seconds = figureValue(figures.seconds);
    if (seconds < leastSeconds) return [];
    const isWhole = stage === "whole";
    const time = isWhole ? `**${(seconds / 60).toFixed(1)} min**` : `${seconds.toFixed(0)} s`;
    const peak = `${(figureValue(figures.peakMb) / 1000).toFixed(2)} GB`;
    return [[isWhole ? "**whole**" : String(stage), time, isWhole ? `**${peak}**` : peak]];
  });
  return markdownTable(["stage", "time", "peak memory so far"], rows, [false, true, true]);
}

/** What is done to one large layer, on one core and on two. */
export function layerTable(lines: readonly ResultLine[]): string {
  const own = lines.filter(({ benchmark }) => benchmark === "one-layer");
  const threads = [...new Set(own.map(({ key }) => Number(key.threads)))];
  const phases = [...new Set(own.map(({ key }) => String(key.phase)))];
  const cells = (phase: string) =>
    threads.flatMap((count) => {
      const line = own.find(({ key }) => key.phase === phase && key.threads === count);
      if (!line) return ["–", "–"];
      const { seconds, gflops } = line.figures;
      const share = Number(line.details?.shareOfPeak);
      const speed = `${figureValue(gflops).toFixed(1)} (${(100 * share).toFixed(0)} %)`;
      return [`${figureValue(seconds).toFixed(2)} s`, speed];
    });
  return markdownTable(
    [
      "phase",
      ...threads.flatMap((count) => {
        const cores = count === 1 ? "1 core" : `${count} cores`;
        return [cores, "GFLOP/s (share of the peak)"];
      }),
    ],
    phases.map((phase) => [phase, ...cells(phase)]),
    [false, ...threads.flatMap(() => [true, true])],
  );
}
