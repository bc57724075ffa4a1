/** Generated parts of hand-written Markdown: tables between `<!-- name:begin -->` and `<!-- name:end -->`. */

export function markdownTable(
  head: readonly string[],
  rows: readonly (readonly string[])[],
): string {
  return [head, head.map(() => "---"), ...rows].map((row) => `| ${row.join(" | ")} |`).join("\n");
}

/** What stands between the marks. */
export function section(text: string, name: string): string {
  const [from, to] = bounds(text, name);
  return text.slice(from, to);
}

export function replaceSection(text: string, name: string, content: string): string {
  const [from, to] = bounds(text, name);
  return `${text.slice(0, from)}\n${content}\n\n${text.slice(to)}`;
}

function bounds(text: string, name: string): [from: number, to: number] {
  const begin = `<!-- ${name}:begin -->\n`;
  const from = text.indexOf(begin) + begin.length;
  const to = text.indexOf(`<!-- ${name}:end -->`, from);
  if (from < begin.length || to === -1) throw new Error(`there is no section "${name}"`);
  return [from, to];
}
