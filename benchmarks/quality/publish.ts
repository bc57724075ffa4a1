/**
 * What is made of the committed results of all benchmarks: pictures and the generated parts of the README. Pure but for reading results, so that a test can tell whether they are up to date.
 */
import { existsSync } from "node:fs";
import { qualityPictures } from "../charts/quality.ts";
import { readResults, resultsPath } from "../harness/results.ts";
import { layerTable, stagesTable } from "../pipeline/tables.ts";
import { gainTable, propagationTable } from "../propagation/tables.ts";
import { productsTable, sessionsTable } from "../session/tables.ts";
import { type QualityResults, toQualityResults } from "./points.ts";
import {
  methodsTable,
  propagatedScorersTable,
  rivalsTable,
  scorersTable,
  verdict,
} from "./tables.ts";

/** Models whose results are committed. */
export const publishedModels = ["tiny-lm", "stories260k"] as const;

export interface PublishedFile {
  /** From the project's folder. */
  readonly path: string;
  readonly text: string;
}

function publishedResults(): QualityResults[] {
  return publishedModels
    .map((model) => resultsPath(`quality-${model}`))
    .filter((path) => existsSync(path))
    .map((path) => toQualityResults(readResults(path)));
}

export const picturePath = (model: string, name: string): string =>
  `benchmarks/results/quality-${model}-${name}.svg`;

export function committedPictures(): PublishedFile[] {
  return publishedResults().flatMap((results) =>
    qualityPictures(results).map(({ name, svg }) => ({
      path: picturePath(results.model, name),
      text: svg,
    })),
  );
}

/** The README with its generated parts made anew: `<!-- results:NAME:begin -->` to `<!-- results:NAME:end -->`. */
export function readmeWithResults(readme: string): string {
  const results = publishedResults();
  const parts = new Map([
    ...results.flatMap((one): [string, string][] => [
      [`${one.model}`, methodsTable(one)],
      [`${one.model}-rivals`, rivalsTable(one)],
    ]),
    ...publishedModels.map((model): [string, string] => [
      `${model}-propagation`,
      propagationTable(readResults(resultsPath(`propagation-${model}`))),
    ]),
    [
      "propagation-swapped",
      gainTable(
        publishedModels.map((model) => [
          model,
          readResults(resultsPath(`propagation-${model}-swapped`)),
        ]),
      ),
    ],
    ["products", productsTable(perNode("kernels"))],
    ["sessions", sessionsTable(perNode("session"))],
    ["pipeline", stagesTable(readResults(resultsPath("pipeline-node20")))],
    ["one-layer", layerTable(readResults(resultsPath("pipeline-node20")))],
    ["scorers", scorersTable(results)],
    ["scorers-propagated", propagatedScorersTable(results, "3")],
    ["verdict", results.map((one) => `- ${verdict(one)}`).join("\n")],
  ]);
  return [...parts].reduce((text, [name, content]) => replacePart(text, name, content), readme);
}

const perNode = (name: string) =>
  Object.fromEntries(
    ["20", "24"].map((node) => [node, readResults(resultsPath(`${name}-node${node}`))]),
  );

function replacePart(text: string, name: string, content: string): string {
  const [begin, end] = [`<!-- results:${name}:begin -->`, `<!-- results:${name}:end -->`];
  const [from, to] = [text.indexOf(begin), text.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`README.md has no part between ${begin} and ${end}`);
  return `${text.slice(0, from + begin.length)}\n\n${content}\n\n${text.slice(to)}`;
}
