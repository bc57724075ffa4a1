/**
 * Plots as SVG files that stand by themselves: own colours for light and dark, own background, text as text. Invariant:
 * the same options give the same bytes.
 */
import { type PlotOptions, plot } from "@observablehq/plot";
import { parseHTML } from "linkedom";

/**
 * Colours by role. Light and dark are both set, because a file that is shown as an image takes its scheme from the
 * reader's system, whatever surrounds it.
 */
const style = `
:root { color-scheme: light dark; --paper: #ffffff; --ink: #1f2328; --soft: #59636e; --line: #e3e6ea;
  --ours: #0a58ca; --ours-soft: #6ea8fe; --a: #b35900; --b: #8250df; --c: #1a7f37; --d: #bf3989; --e: #0f7b8a; --grey: #8c959f; --other: #cf222e; }
@media (prefers-color-scheme: dark) { :root { --paper: #0d1117; --ink: #e6edf3; --soft: #9198a1; --line: #262c36;
  --ours: #58a6ff; --ours-soft: #4184d6; --a: #e3964a; --b: #bc8cff; --c: #56d364; --d: #ff8fc7; --e: #4fd1c5; --grey: #7d8590; --other: #ff7b72; } }
svg { color: var(--ink); } text { font-family: system-ui, "Segoe UI", Helvetica, Arial, sans-serif; }
.title { font-size: 16px; font-weight: 600; } .subtitle { font-size: 12.5px; fill: var(--soft); }
`;

export interface Frame {
  readonly title: string;
  /** What the axes are, and what is shown. */
  readonly subtitle: string;
  /** For those who cannot see it. */
  readonly description: string;
}

export function renderSvg(frame: Frame, options: PlotOptions): string {
  const { document } = parseHTML("<!doctype html><html><body></body></html>");
  const svg = plot({
    className: "chart",
    ...options,
    document: document as unknown as NonNullable<PlotOptions["document"]>,
  });
  svg.querySelector("style")?.remove();
  // Plot speaks of marks one by one; the file is one image.
  for (const part of svg.querySelectorAll("[aria-label], [aria-description]")) {
    part.removeAttribute("aria-label");
    part.removeAttribute("aria-description");
  }
  svg.removeAttribute("class");
  const { width = 0, height = 0 } = options;
  const head = [
    `<title>${escaped(frame.title)}</title><desc>${escaped(frame.description)}</desc>`,
    `<style>${style}</style>`,
    `<rect width="${width}" height="${height}" style="fill: var(--paper)"/>`,
    `<text class="title" x="16" y="26">${escaped(frame.title)}</text>`,
    `<text class="subtitle" x="16" y="45">${escaped(frame.subtitle)}</text>`,
  ].join("\n");
  const body = String(svg.innerHTML);
  const attributes = `xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-size="12" text-anchor="middle" fill="currentColor"`;
  return `<svg ${attributes}>\n${head.replaceAll("<text ", '<text text-anchor="start" ')}\n${body}\n</svg>\n`;
}

const escaped = (text: string) =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
