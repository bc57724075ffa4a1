/** Speeds that the changelog claims are those of the committed results; the README's tables are generated. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { projectFolder } from "../../benchmarks/harness/environment.ts";
import { readResults, resultsPath } from "../../benchmarks/harness/results.ts";

/** Median milliseconds of a 4-bit product of `m` rows with a 2048 × 5632 matrix on one thread. */
function productMs(node: number, library: string, m: number): number {
  const wanted = { what: "product", library, m, k: 2048, n: 5632, bits: 4, threads: 1 };
  const [line] = readResults(resultsPath(`kernels-node${node}`)).filter(({ key }) =>
    Object.entries(wanted).every(([name, value]) => key[name] === value),
  );
  const { ms } = line.figures;
  return typeof ms === "number" ? ms : (ms?.value ?? Number.NaN);
}

const ratio = (node: number, m: number, digits: number) =>
  (productMs(node, "onnxruntime-web", m) / productMs(node, "bitloom", m)).toFixed(digits);

test("products against onnxruntime-web", () => {
  const changelog = readFileSync(join(projectFolder, "CHANGELOG.md"), "utf8").replace(/\s+/g, " ");
  expect(changelog).toContain(
    `product runs ${ratio(20, 1, 0)} times as fast as in onnxruntime-web`,
  );
});
