/** Two runs beside each other as one HTML page, in the style of the report. */
import type { QuantizeReport, ReportedLayer } from "../document.ts";
import { depthOf } from "../page/depth.ts";
import { fileName } from "../page/names.ts";
import { fixed } from "../page/numbers.ts";
import { pageText } from "../page/page.ts";
import { openPen } from "../page/plots.ts";
import type { Section } from "../page/section.ts";
import { compareReports, jointNames } from "./comparison.ts";
import type { PairInput } from "./pair.ts";
import { bitsSection } from "./sections/bits.ts";
import { effortSection } from "./sections/effort.ts";
import { frontierSection } from "./sections/frontier.ts";
import { growthSection } from "./sections/growth.ts";
import { headline, leadText } from "./sections/headline.ts";
import { originSection } from "./sections/origin.ts";
import { qualitySection } from "./sections/quality.ts";
import { remarksSection } from "./sections/remarks.ts";
import { scoresSection } from "./sections/scores.ts";

/** In the order of the report's page; a section that has nothing to show gives null. */
const sections: readonly ((input: PairInput) => Section | null)[] = [
  bitsSection,
  qualitySection,
  frontierSection,
  scoresSection,
  growthSection,
  remarksSection,
  effortSection,
  originSection,
];

/**
 * Writes a comparison as a self-contained page.
 *
 * @throws bad-option - the reports are of different models.
 */
export async function renderComparison(a: QuantizeReport, b: QuantizeReport): Promise<string> {
  const comparison = compareReports(a, b);
  const depth = depthOf(jointLayers(a, b));
  const input: PairInput = { a, b, comparison, depth, pen: await openPen() };
  return pageText({
    title: `${fileName(a.model.path)}: ${fixed(a.bitsPerWeight, 2)} and ${fixed(b.bitsPerWeight, 2)} bits per weight`,
    eyebrow: "Two quantizations of one model",
    lead: leadText(comparison),
    opening: { id: "result", title: "Result", markup: headline(input) },
    sections: sections.map((make) => make(input)).filter((section) => section !== null),
    foot: `Made by bitloom ${b.bitloom}. Charts by Observable Plot. This page loads nothing from anywhere.`,
  });
}

/** One entry per layer of either run. */
function jointLayers(a: QuantizeReport, b: QuantizeReport): ReportedLayer[] {
  const known = new Map([...b.layers, ...a.layers].map((layer) => [layer.name, layer]));
  return jointNames(a, b).flatMap((name) => known.get(name) ?? []);
}
