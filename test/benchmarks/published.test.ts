/**
 * Pictures and tables are those of the committed results. `npm run bench:plots` makes them anew.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { projectFolder } from "../../benchmarks/harness/environment.ts";
import { readResults, resultsPath } from "../../benchmarks/harness/results.ts";
import {
  committedPictures,
  publishedModels,
  readmeWithResults,
} from "../../benchmarks/quality/publish.ts";

const readme = readFileSync(join(projectFolder, "README.md"), "utf8");
const pictures = committedPictures();

describe("committed results", () => {
  const files = [
    ...publishedModels.map((model) => `quality-${model}`),
    ...publishedModels.flatMap((model) => [`propagation-${model}`, `propagation-${model}-swapped`]),
    ...["kernels-node20", "kernels-node24", "session-node20", "session-node24", "pipeline-node20"],
  ];
  test.each(files)("%s is readable, and no measurement is there twice", (name) => {
    const keys = readResults(resultsPath(name)).map(({ key }) =>
      JSON.stringify(Object.entries(key).sort()),
    );
    expect(keys.length).toBeGreaterThan(20);
    expect(new Set(keys).size).toBe(keys.length);
  });
});

describe("pictures", () => {
  test.each(pictures)("$path is up to date", ({ path, text }) => {
    expect(readFileSync(join(projectFolder, path), "utf8")).toBe(text);
  });

  test.each(pictures)("$path stands by itself, in light and dark", ({ text }) => {
    expect(text).toMatch(/^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg" role="img"/);
    expect(text).toContain("prefers-color-scheme: dark");
    expect(text).toMatch(/<title>.+<\/title><desc>.+<\/desc>/);
    expect(text).not.toMatch(/NaN|Infinity|undefined/);
    expect(text.replace("http://www.w3.org/2000/svg", "")).not.toMatch(/https?:|<script/);
  });
});

test("the README's results are those of the committed files, and its pictures are there", () => {
  expect(readmeWithResults(readme)).toBe(readme);
  for (const [, path] of readme.matchAll(/\]\((benchmarks\/results\/[^)]+)\)/g)) {
    expect(() => readFileSync(join(projectFolder, path)), path).not.toThrow();
  }
});
