/** The report of a run as one HTML page: the same facts as the JSON document, to be read. */
import type { QuantizeReport } from "./document.ts";
import { depthOf } from "./page/depth.ts";
import { pageText } from "./page/page.ts";
import { openPen } from "./page/plots.ts";
import type { PageInput, Section } from "./page/section.ts";
import { bitsSection } from "./page/sections/bits.ts";
import { effortSection } from "./page/sections/effort.ts";
import { frontierSection } from "./page/sections/frontier.ts";
import { growthSection } from "./page/sections/growth.ts";
import { headline, leadText, pageTitle } from "./page/sections/headline.ts";
import { originSection } from "./page/sections/origin.ts";
import { outliersSection } from "./page/sections/outliers.ts";
import { qualitySection } from "./page/sections/quality.ts";
import { reasonsSection } from "./page/sections/reasons.ts";
import { remarksSection } from "./page/sections/remarks.ts";
import { scoresSection } from "./page/sections/scores.ts";

/** In the order of the page; a section that has nothing to show gives null. */
const sections: readonly ((input: PageInput) => Section | null)[] = [
  bitsSection,
  qualitySection,
  reasonsSection,
  frontierSection,
  scoresSection,
  growthSection,
  outliersSection,
  remarksSection,
  effortSection,
  originSection,
];

/**
 * Writes a report as a self-contained page: no network, no script needed, light and dark, fit for print.
 *
 * Cost: well under a second; the first call loads the drawing library. The same report gives the same text.
 */
export async function renderReport(report: QuantizeReport): Promise<string> {
  const input: PageInput = { report, depth: depthOf(report.layers), pen: await openPen() };
  return pageText({
    title: pageTitle(report),
    eyebrow: report.command === "apply" ? "A saved plan, applied" : "Quantization report",
    lead: leadText(report),
    opening: { id: "result", title: "Result", markup: headline(report) },
    sections: sections.map((make) => make(input)).filter((section) => section !== null),
    foot: `Made by bitloom ${report.bitloom}. Charts by Observable Plot. This page loads nothing from anywhere.`,
  });
}
