/**
 * What a finished run says on the terminal.
 */
import { readResults } from "../harness/results.ts";
import { toQualityResults, where } from "./points.ts";
import { methodsTable, propagationTable, rivalsTable, scorersTable, verdict } from "./tables.ts";

export function printSummary(path: string): void {
  const results = toQualityResults(readResults(path));
  const { model, floatPerplexity } = results;
  console.log(
    `\n${model}: perplexity / KL in nats per token; float perplexity ${floatPerplexity}\n`,
  );
  console.log(methodsTable(results));
  console.log(`\nKL against the best uniform plan at 2 / 3 / 4 bits, and rank correlation\n`);
  console.log(scorersTable([results]));
  if (where(results.points, { kind: "mixed", propagation: "auto" }).length > 0) {
    console.log("\nKL of mixed plans: one by one / qep / auto\n");
    console.log(propagationTable([results]));
  }
  console.log(`\n${rivalsTable(results)}\n\n${verdict(results)}\n\nresults: ${path}`);
}
