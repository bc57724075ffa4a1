/**
 * Compares two files of results of any benchmark and fails where a figure became worse than noise and tolerance allow.
 *
 *   npm run bench:compare -- OLD.jsonl NEW.jsonl [--tolerance 0.05] [--partial]
 *
 * Exit code 0: nothing is worse. 3: something is, or is missing. 2: no measurement in common, or wrong arguments.
 */
import { amount, flag, readArguments } from "./harness/arguments.ts";
import { type Change, compareResults, exitCode } from "./harness/compare.ts";
import { readResults } from "./harness/results.ts";
import { columns } from "./harness/table.ts";

const { values: args, positionals } = readArguments(
  "bench:compare",
  {
    tolerance: amount("relative change that is let pass, 0.05 by default"),
    all: flag("show changes inside noise and tolerance too"),
    partial: flag("measurements may be missing from the second file, as after a --quick run"),
  },
  ["OLD.jsonl", "NEW.jsonl"],
);
const [before, after] = positionals.map(readResults);
const comparison = compareResults(before, after, args.tolerance ?? 0.05);
const { changes, onlyBefore, onlyAfter, environment } = comparison;
if (environment.length > 0) console.error(`different: ${environment.join("; ")}`);
const shown = changes.filter(
  ({ verdict }) => args.all || verdict === "worse" || verdict === "better",
);
if (shown.length > 0) {
  console.log(
    columns([["", "figure", "before", "after", "change", "measurement"], ...shown.map(row)]),
  );
}
const count = (of: Change["verdict"]) => changes.filter(({ verdict }) => verdict === of).length;
console.log(
  `${changes.length} figures: ${count("worse")} worse, ${count("better")} better, ${count("tolerated")} within the tolerance, ${count("noise")} within the noise; ${onlyBefore.length} measurements only in the first file, ${onlyAfter.length} only in the second`,
);
if (changes.length === 0) {
  console.error("The files have no measurement in common. Compare results of one benchmark.");
} else if (onlyBefore.length > 0 && !args.partial) {
  console.error(`Missing from the second file: ${onlyBefore[0]}, …; --partial lets that pass.`);
}
process.exitCode = exitCode(comparison, args.partial);

function row({ measurement, figure, before, after, relative, verdict }: Change): string[] {
  const percent = `${relative > 0 ? "+" : ""}${(100 * relative).toFixed(1)}%`;
  return [verdict, figure, `${before}`, `${after}`, percent, measurement];
}
