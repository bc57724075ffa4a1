/**
 * Results of `bench:propagation` as Markdown, for the README. Pure.
 */
import { type Banded, figureValue } from "../harness/figures.ts";
import type { ResultLine } from "../harness/results.ts";
import { markdownTable } from "../harness/table.ts";

/** Perplexity: corrections in rows, quantizers and widths in columns; then what `auto` gains. */
export function propagationTable(lines: readonly ResultLine[]): string {
  const columns = distinct(lines.map(columnOf));
  const corrections = distinct(lines.map(({ key }) => String(key.correction)));
  const cell = (correction: string, column: string, text: (line: ResultLine) => string) => {
    const line = lines.find((one) => one.key.correction === correction && columnOf(one) === column);
    return line ? text(line) : "–";
  };
  const rows = corrections.map((correction) => [
    correction === "auto" ? "**auto**" : correction,
    ...columns.map((column) => cell(correction, column, perplexity)),
  ]);
  const gain = [
    "auto − best fixed, 10⁻³ nats",
    ...columns.map((column) => cell("auto", column, againstFixed)),
  ];
  return markdownTable(
    ["correction", ...columns],
    [...rows, gain],
    [false, ...columns.map(() => true)],
  );
}

/** The last row of `propagationTable` alone, of several models measured with one quantizer: widths in columns. */
export function gainTable(models: readonly (readonly [string, readonly ResultLine[]])[]): string {
  const rows = models.map(([name, lines]) => {
    const own = lines.filter(({ key }) => key.correction === "auto");
    return { columns: own.map(columnOf), cells: [name, ...own.map(againstFixed)] };
  });
  const head = ["auto − best fixed, 10⁻³ nats", ...(rows[0]?.columns ?? [])];
  return markdownTable(
    head,
    rows.map(({ cells }) => cells),
    [false, true, true, true],
  );
}

/** "gptq, 4 bits". */
function columnOf({ key }: ResultLine): string {
  const bits = /^int(\d+)-/.exec(String(key.format))?.[1] ?? "?";
  return `${key.quantizer}, ${bits} bits`;
}

function perplexity({ figures }: ResultLine): string {
  const value = figureValue(figures.perplexity);
  return Number.isNaN(value) ? "–" : value.toFixed(value < 100 ? 2 : 0);
}

/** "−49.2 ± 21.3". */
function againstFixed({ details }: ResultLine): string {
  const band = details?.againstFixed as Banded | undefined;
  if (!band) return "–";
  const { value, high } = band;
  const text = (1e3 * value).toFixed(1);
  return `${text.replace("-", "−")} ± ${(1e3 * (high - value)).toFixed(1)}`;
}

const distinct = (values: readonly string[]): string[] => [...new Set(values)];
