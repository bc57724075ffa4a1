/**
 * What the page does with a script, and does without where there is none: tables sort by a click on a column's title,
 * those that do not scroll are no stop of the tab key, and what is closed is opened for the printer.
 * Plain text for the page, so it is written for browsers. The page's own policy allows this script and no other.
 */
import { createHash } from "node:crypto";

export const script = `
// A frame that fits is no stop and no region: its table has a name of its own. Windows and letters change their size.
const stops = new ResizeObserver((entries) => {
  for (const frame of new Set(entries.map(({ target }) => target.closest(".scroll")))) {
    if (frame.clientWidth === 0) continue;
    const scrolls = frame.scrollWidth > frame.clientWidth;
    const label = frame.querySelector("caption").textContent;
    for (const [name, value] of [["role", "region"], ["tabindex", "0"], ["aria-label", label]]) {
      if (scrolls) frame.setAttribute(name, value);
      else frame.removeAttribute(name);
    }
  }
});
for (const part of document.querySelectorAll(".scroll, .scroll > table")) stops.observe(part);
// For browsers that do not know ::details-content, with which the style sheet opens them on paper.
const opened = [];
addEventListener("beforeprint", () => {
  for (const part of document.querySelectorAll("details:not([open])")) {
    part.open = true;
    opened.push(part);
  }
});
addEventListener("afterprint", () => {
  for (const part of opened.splice(0)) part.open = false;
});
for (const table of document.querySelectorAll("table[data-sortable]")) {
  const heads = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  const original = [...body.rows];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const next = { none: "ascending", ascending: "descending", descending: "none" };
      const order = next[head.getAttribute("aria-sort") ?? "none"];
      for (const other of heads) other.removeAttribute("aria-sort");
      if (order !== "none") head.setAttribute("aria-sort", order);
      const sign = order === "descending" ? -1 : 1;
      const value = (row) => row.cells[column].dataset.order ?? row.cells[column].textContent.trim();
      const compare = (a, b) => {
        const [x, y] = [value(a), value(b)];
        const [p, q] = [Number(x), Number(y)];
        return sign * (Number.isNaN(p) || Number.isNaN(q) ? (x < y ? -1 : x > y ? 1 : 0) : p - q);
      };
      body.append(...(order === "none" ? original : [...original].sort(compare)));
    });
  });
}
`;

/** Nothing is fetched from anywhere; styles are the page's own, and so is the one script. */
export const contentPolicy = `default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-${createHash(
  "sha256",
)
  .update(script)
  .digest("base64")}'; base-uri 'none'; form-action 'none'`;
