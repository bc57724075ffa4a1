/** Tables and wrapped text as plain lines. */
import type { Style } from "./style.ts";

export interface Column {
  readonly title: string;
  readonly align?: "left" | "right";
  /** Gives way when the line is too long; its middle is cut out. */
  readonly flexible?: boolean;
}

/** One line of titles and one per row, columns aligned, two spaces between them. */
export function table(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  style: Style,
): string {
  const natural = columns.map(({ title }, i) =>
    Math.max(title.length, ...rows.map((row) => row[i].length)),
  );
  const total = natural.reduce((sum, width) => sum + width + 2, -2);
  const excess = Math.max(0, total - style.columns);
  const widths = natural.map((width, i) =>
    columns[i].flexible ? Math.max(12, width - excess) : width,
  );
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, i) => {
        const text = shorten(cell, widths[i]);
        return columns[i].align === "right" ? text.padStart(widths[i]) : text.padEnd(widths[i]);
      })
      .join("  ")
      .trimEnd();
  return [style.bold(line(columns.map(({ title }) => title))), ...rows.map(line)].join("\n");
}

/** Cuts out the middle: both ends of a layer's name tell it from others. */
export function shorten(text: string, width: number): string {
  if (text.length <= width) return text;
  const head = Math.floor((width - 1) / 3);
  return `${text.slice(0, head)}…${text.slice(text.length - (width - 1 - head))}`;
}

/** "Label   value" lines, labels padded to one width; values may have several lines. */
export function facts(entries: readonly (readonly [string, string])[], style: Style): string {
  const width = Math.max(...entries.map(([label]) => label.length)) + 2;
  const fit = (line: string) =>
    line.length + width > style.columns ? wrap(line, style.columns - width) : [line];
  return entries
    .map(([label, value]) => {
      const [first, ...others] = value.split("\n").flatMap(fit);
      const rest = others.map((text) => `\n${" ".repeat(width)}${text}`).join("");
      return `${style.bold(label.padEnd(width))}${first}${rest}`;
    })
    .join("\n");
}

/** Lines of at most `columns` characters, broken at spaces. */
export function wrap(text: string, columns: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && line.length + 1 + word.length > columns) {
      lines.push(line);
      line = word;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  return [...lines, line];
}
