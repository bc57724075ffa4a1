/**
 * What the page does with a script, and does without where there is none: tables sort by a click on a column's title,
 * and those that do not scroll are no stop of the tab key.
 * Plain text for the page, so it is written for browsers. The page's own policy allows this script and no other.
 */
import { createHash } from "node:crypto";

export const script = `
for (const frame of document.querySelectorAll(".scroll")) {
  if (frame.scrollWidth > 0 && frame.scrollWidth <= frame.clientWidth) frame.removeAttribute("tabindex");
}
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
