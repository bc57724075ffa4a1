/**
 * Markup as tagged templates: what is put in is escaped unless it is markup already. Invariant: no name, message or
 * path of a report can end an element or an attribute.
 */

/** Text that is markup. */
export class Markup {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

/** null, undefined and false leave nothing; lists are joined. */
export type Part = Markup | string | number | null | undefined | false | readonly Part[];

/** html`<p>${text}</p>` */
export function html(strings: TemplateStringsArray, ...parts: readonly Part[]): Markup {
  return new Markup(
    strings.map((text, at) => text + (at < parts.length ? toText(parts[at]) : "")).join(""),
  );
}

/** Takes text as the markup that it is. */
export const raw = (text: string): Markup => new Markup(text);

export function escapeText(text: string): string {
  return text
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;")
    .replaceAll("'", "&#39;");
}

function toText(part: Part): string {
  if (part === null || part === undefined || part === false) return "";
  if (part instanceof Markup) return part.text;
  if (typeof part === "string" || typeof part === "number") return escapeText(String(part));
  return part.map(toText).join("");
}
