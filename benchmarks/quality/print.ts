/**
 * What a finished run says on the terminal.
 */
import { readResults } from "../harness/results.ts";
import { toQualityResults, where } from "./points.ts";
import {
  distinct,
  methodsTable,
  propagatedScorersTable,
  rivalsTable,
  scorersTable,
  verdict,
} from "./tables.ts";

export function printSummary(path: string): void {
  const results = toQualityResults(readResults(path));
  const { model, floatPerplexity } = results;
  console.log(
    `\n${model}: perplexity / KL in nats per token; float perplexity ${floatPerplexity}\n`,
  );
  console.log(methodsTable(results));
  console.log(`\nKL against the best uniform plan at 2 / 3 / 4 bits, and rank correlation\n`);
  console.log(scorersTable([results]));
  const propagated = where(results.points, { kind: "mixed", propagation: "auto" });
  for (const bits of distinct(propagated, "bits")) {
    console.log(`\nKL of mixed plans at ${bits} bits: one by one / qep / auto\n`);
    console.log(propagatedScorersTable([results], bits));
  }
  console.log(`\n${rivalsTable(results)}\n\n${verdict(results)}\n\nresults: ${path}`);
}
