/**
 * The page's style sheet: one column on a phone, words beside figures on a desktop, dark where the reader's system is,
 * plain on paper. Text has a contrast of at least 4.5 on its ground; marks that carry a meaning at least 3.
 *
 * Paper has everything, what is closed on the screen too: there is nothing to open or to point at, and whole names and
 * losses are in tables only. Chromium repeats the head of a table on every sheet only where no box of a button is in it.
 * Where a system forces its colours, marks that are nothing but a colour keep theirs.
 */
export const style = `
:root {
  color-scheme: light dark;
  --paper: #fbfbf9; --card: #ffffff; --ink: #17191c; --soft: #565e69; --line: #dddfe2; --edge: #8b929c;
  --plan: #0a5bd3; --other: #b4430f; --third: #0b7a5b; --good: #0b7a5b; --bad: #b3261e; --focus: #0a5bd3;
  --b2: #b57c00; --b3: #d0551a; --b4: #c92f62; --b5: #983ba8; --b6: #6345c4; --b8: #2c54b8; --b16: #66707c; --b32: #3d444d;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #121417; --card: #1a1d22; --ink: #eceef1; --soft: #a6aeb9; --line: #2e343b; --edge: #6d7681;
    --plan: #79b0ff; --other: #ff9d6b; --third: #5fd0a6; --good: #5fd0a6; --bad: #ff8f85; --focus: #79b0ff;
    --b2: #f2bd3f; --b3: #ff9457; --b4: #ff7299; --b5: #d78ae6; --b6: #a896ff; --b8: #78a6ff; --b16: #9aa4b0; --b32: #ccd2d9;
  }
}
* { box-sizing: border-box; }
html { font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; -webkit-text-size-adjust: 100%; scroll-behavior: smooth; }
@media (prefers-reduced-motion: reduce) { html { scroll-behavior: auto; } }
body { margin: 0; background: var(--paper); color: var(--ink); overflow-wrap: break-word; }
header, main, footer, nav.contents { max-width: 70rem; margin-inline: auto; padding-inline: 1.5rem; }
a { color: var(--plan); text-underline-offset: 0.15em; }
:focus-visible { outline: 3px solid var(--focus); outline-offset: 2px; border-radius: 2px; }
.skip { position: absolute; left: 1rem; top: -4rem; padding: 0.5rem 1rem; background: var(--card); z-index: 1; }
.skip:focus { top: 1rem; }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
header { padding-top: 2.5rem; }
.eyebrow { margin: 0; color: var(--soft); font-size: 0.875rem; }
h1 { margin: 0.25rem 0 0.75rem; font-size: clamp(1.75rem, 1.2rem + 2.4vw, 2.75rem); line-height: 1.12; letter-spacing: -0.022em; font-weight: 700; text-wrap: balance; }
h2 { margin: 0 0 0.5rem; font-size: 1.3rem; line-height: 1.25; letter-spacing: -0.012em; text-wrap: balance; }
h3 { margin: 1.5rem 0 0.5rem; font-size: 1rem; }
h3:first-child { margin-top: 0; }
.lead { margin: 0; max-width: 44rem; font-size: 1.125rem; text-wrap: pretty; }
p { margin: 0 0 0.75rem; text-wrap: pretty; }
.soft, figcaption, caption, summary, dt { color: var(--soft); }
nav.contents { margin-top: 1.5rem; }
nav.contents ul { display: flex; flex-wrap: wrap; gap: 0.25rem 1.25rem; margin: 0; padding: 0.75rem 0; list-style: none; border-block: 1px solid var(--line); font-size: 0.875rem; }
nav.contents a { display: inline-block; padding-block: 0.2rem; text-decoration: none; }
nav.contents a:hover { text-decoration: underline; }
main { padding-bottom: 2rem; }
main > section { padding-block: 2.25rem; border-bottom: 1px solid var(--line); }
main > section > * { min-width: 0; }
.say { max-width: 44rem; }
@media (min-width: 68rem) {
  main > section.split { display: grid; grid-template-columns: 16rem minmax(0, 1fr); column-gap: 2.5rem; align-items: start; }
  main > section.split > .below { grid-column: 1 / -1; margin-top: 1rem; }
}
.tiles { display: flex; flex-wrap: wrap; gap: 1px; margin: 0 0 2rem; padding: 1px; background: var(--line); border-radius: 0.5rem; overflow: hidden; }
.tiles > div { flex: 1 1 10rem; background: var(--card); padding: 1rem 1.1rem; }
.tiles dt { font-size: 0.8125rem; }
.tiles dd { margin: 0.15rem 0 0; font-size: 0.8125rem; color: var(--soft); }
.tiles dd strong { display: block; font-size: 1.6rem; line-height: 1.25; letter-spacing: -0.02em; color: var(--ink); font-weight: 650; font-variant-numeric: tabular-nums; }
.tiles .bar { display: block; height: 6px; margin: 0.45rem 0 0.35rem; background: var(--line); border-radius: 3px; overflow: hidden; }
.tiles .bar i { display: block; height: 100%; background: var(--plan); min-width: 2px; }
.promises { margin: 0; padding: 0; list-style: none; display: grid; gap: 0.6rem; max-width: 52rem; }
.promises li { display: grid; grid-template-columns: 6.5rem minmax(0, 1fr); gap: 0.75rem; }
.mark { font-weight: 650; white-space: nowrap; }
.mark.kept { color: var(--good); } .mark.missed { color: var(--bad); } .mark.open { color: var(--soft); }
figure { margin: 0 0 0.75rem; }
figure > .panel:first-child { margin-top: 0; }
.drawing.narrow { display: none; }
@media (max-width: 52rem) {
  .drawing.wide { display: none; }
  .drawing.narrow { display: block; max-width: 30rem; }
}
svg.chart { display: block; width: 100%; height: auto; overflow: visible; font-family: inherit; font-variant-numeric: tabular-nums; }
svg.chart text { white-space: pre; }
.panel { margin: 0.75rem 0 0; font-weight: 600; font-size: 0.875rem; }
figcaption { margin-top: 0.5rem; font-size: 0.875rem; max-width: 46rem; text-wrap: pretty; }
.legend { display: flex; flex-wrap: wrap; gap: 0.25rem 1.25rem; margin: 0 0 0.5rem; padding: 0; list-style: none; font-size: 0.875rem; }
.legend li { display: inline-flex; align-items: center; gap: 0.5rem; }
.legend svg { flex: none; overflow: visible; }
.shares { display: flex; height: 1.1rem; gap: 2px; border-radius: 3px; overflow: hidden; margin: 0 0 0.5rem; }
.shares i { display: block; min-width: 2px; }
.chip { display: inline-block; width: 0.7em; height: 0.7em; border-radius: 2px; margin-right: 0.45em; }
details { margin: 0.5rem 0; }
summary { cursor: pointer; font-size: 0.875rem; padding-block: 0.2rem; width: fit-content; }
summary:hover { color: var(--ink); }
.scroll { overflow-x: auto; max-width: 100%; margin-block: 0.25rem 0.75rem;
  background: linear-gradient(to right, var(--paper) 40%, transparent) left / 3rem 100% local no-repeat,
    linear-gradient(to left, var(--paper) 40%, transparent) right / 3rem 100% local no-repeat,
    linear-gradient(to right, var(--line), transparent) left / 0.75rem 100% scroll no-repeat,
    linear-gradient(to left, var(--line), transparent) right / 0.75rem 100% scroll no-repeat; }
table { min-width: min(18rem, 100%); border-collapse: collapse; font-size: 0.875rem; font-variant-numeric: tabular-nums; }
table.full { width: 100%; }
caption { text-align: left; padding-bottom: 0.4rem; font-size: 0.875rem; }
th, td { padding: 0.3rem 1rem 0.3rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); font-weight: 400; }
thead th { color: var(--soft); vertical-align: bottom; white-space: nowrap; border-bottom-color: var(--edge); }
td small { display: block; color: var(--soft); font-size: 0.8125rem; }
.number { text-align: right; white-space: nowrap; }
td.words { min-width: 15rem; }
th.nowrap, td.nowrap { white-space: nowrap; }
.nowrap wbr { display: none; }
tbody .path { min-width: 13rem; overflow-wrap: anywhere; }
thead button { all: unset; cursor: pointer; color: inherit; }
thead button:focus-visible { outline: 3px solid var(--focus); outline-offset: 2px; }
thead button::after { content: " ↕"; color: var(--edge); }
th[aria-sort="ascending"] button::after { content: " ↑"; color: var(--ink); }
th[aria-sort="descending"] button::after { content: " ↓"; color: var(--ink); }
.gauge { display: block; position: relative; width: clamp(7rem, 24vw, 20rem); height: 0.7rem; margin-top: 0.35rem; }
.gauge i { position: absolute; inset-block: 0; left: 0; background: var(--plan); border-radius: 2px; min-width: 2px; }
.gauge b { position: absolute; inset-block: -3px; width: 2px; background: var(--ink); }
dl:not(.tiles) { margin: 0; display: grid; gap: 0.35rem; font-size: 0.875rem; }
dl:not(.tiles) > div { display: grid; grid-template-columns: 11rem minmax(0, 1fr); gap: 0 1rem; }
dl:not(.tiles) dd { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 40rem) {
  dl:not(.tiles) > div, .promises li { grid-template-columns: minmax(0, 1fr); gap: 0; }
}
pre { margin: 0 0 1rem; padding: 0.75rem 1rem; background: var(--card); border: 1px solid var(--line); border-radius: 0.375rem; white-space: pre-wrap; overflow-wrap: anywhere; font: 0.8125rem/1.5 ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
code { font: 0.9em ui-monospace, "SF Mono", Menlo, Consolas, monospace; overflow-wrap: anywhere; }
.list { margin: 0; padding-left: 1.1rem; } .list li { margin-bottom: 0.4rem; }
footer { padding-block: 1.5rem 3rem; color: var(--soft); font-size: 0.8125rem; }
@media (forced-colors: active) {
  .shares i, .chip, .tiles .bar, .gauge { forced-color-adjust: none; }
  .scroll { background: none; }
}
@page { margin: 14mm; }
@media print {
  :root { color-scheme: light; --paper: #fff; --card: #fff; --ink: #000; --soft: #444; --line: #ccc; --edge: #777;
    --plan: #0a4fb8; --other: #9c390c; --third: #0a6a4f; --good: #0a6a4f; --bad: #a1211a;
    --b2: #b57c00; --b3: #d0551a; --b4: #c92f62; --b5: #983ba8; --b6: #6345c4; --b8: #2c54b8; --b16: #66707c; --b32: #3d444d; }
  html { font-size: 10.5pt; }
  body { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
  nav.contents, .skip { display: none; }
  header, main, footer { max-width: none; padding-inline: 0; }
  main > section { padding-block: 1rem; }
  main > section.split { display: block; }
  .drawing.wide { display: block; } .drawing.narrow { display: none; }
  .scroll { overflow: visible; background: none; }
  details::details-content { content-visibility: visible; }
  summary { list-style: none; }
  summary::-webkit-details-marker { display: none; }
  table { font-size: 8.5pt; line-height: 1.35; }
  th, td { padding-block: 0.12rem; }
  thead th, thead th.number, tbody th.nowrap { white-space: normal; }
  .nowrap wbr { display: inline; }
  tbody th { min-width: 9rem; overflow-wrap: anywhere; }
  td.words { min-width: 10rem; }
  thead button { display: contents; }
  thead button::after { content: none !important; }
  .tiles > div { flex-basis: 8rem; padding-inline: 0.8rem; }
  figure, thead, tr, .tiles, .promises li { break-inside: avoid; }
  h2, h3, summary, thead { break-after: avoid; }
}
`;
