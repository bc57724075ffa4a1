/** The frame of every page: head, contents, sections, foot. One file that needs nothing from anywhere. */
import { html, type Markup, type Part, raw } from "./html.ts";
import { contentPolicy, script } from "./script.ts";
import { type Section, sectionMarkup } from "./section.ts";
import { style } from "./style.ts";

export interface PageFrame {
  readonly title: string;
  /** Above the title: what kind of page this is. */
  readonly eyebrow: string;
  readonly lead: string;
  /** Before the sections, with an entry in the contents. */
  readonly opening: { readonly id: string; readonly title: string; readonly markup: Markup };
  readonly sections: readonly Section[];
  readonly foot: Part;
}

export function pageText({ title, eyebrow, lead, opening, sections, foot }: PageFrame): string {
  const entries = [opening, ...sections].map(
    ({ id, title }) => html`<li><a href="#${id}">${title}</a></li>`,
  );
  const { text } = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${contentPolicy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${title} – bitloom</title>
<style>${raw(style)}</style>
</head>
<body>
<a class="skip" href="#main">Skip to the report</a>
<header>
<p class="eyebrow">${eyebrow}</p>
<h1>${title}</h1>
<p class="lead">${lead}</p>
</header>
<nav class="contents" aria-label="Contents"><ul>${entries}</ul></nav>
<main id="main">
${opening.markup}${sections.map(sectionMarkup)}</main>
<footer><p>${foot}</p></footer>
<script>${raw(script)}</script>
</body>
</html>
`;
  return text;
}
