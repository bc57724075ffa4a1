/**
 * Two files of results, measurement by measurement: what became worse by more than noise explains. Pure.
 */
import { type Banded, type Figure, type FigureName, figures } from "./figures.ts";
import { keyText, type ResultLine } from "./results.ts";

export interface Change {
  /** "kernels: bits 4, library bitloom, …". */
  readonly measurement: string;
  readonly figure: FigureName;
  readonly before: number;
  readonly after: number;
  /** (after − before) / |before|. */
  readonly relative: number;
  /** Within the bands of the two, within the tolerance, or beyond both. */
  readonly verdict: "noise" | "tolerated" | "better" | "worse";
}

export interface Comparison {
  readonly changes: readonly Change[];
  /** Measurements that only one of the files has. */
  readonly onlyBefore: readonly string[];
  readonly onlyAfter: readonly string[];
  /** What of the environment differs: "node 20.20.2 -> 24.1.0". */
  readonly environment: readonly string[];
}

/**
 * Compares all figures of all measurements that both files have. A change counts when the bands of the two do not
 * overlap and it is larger than the tolerance; a figure without a band is its own band.
 *
 * @param tolerance - relative, 0.05 for 5 %.
 */
export function compareResults(
  before: readonly ResultLine[],
  after: readonly ResultLine[],
  tolerance: number,
): Comparison {
  const [old, now] = [before, after].map(byKey);
  const changes = [...old].flatMap(([measurement, line]) => {
    const other = now.get(measurement);
    if (!other) return [];
    return (Object.keys(figures) as FigureName[]).flatMap((figure): Change[] => {
      const [a, b] = [line.figures[figure], other.figures[figure]];
      if (a === undefined || b === undefined) return [];
      return [{ measurement, figure, ...judge(figure, bandOf(a), bandOf(b), tolerance) }];
    });
  });
  return {
    changes,
    onlyBefore: [...old.keys()].filter((key) => !now.has(key)),
    onlyAfter: [...now.keys()].filter((key) => !old.has(key)),
    environment: differences(before, after),
  };
}

/**
 * 0: nothing is worse. 3: a figure is, or a measurement of the first file is missing from the second. 2: the files have
 * nothing in common.
 *
 * @param isPartial - only a part was measured anew, so that nothing is missing.
 */
export function exitCode({ changes, onlyBefore }: Comparison, isPartial: boolean): number {
  if (changes.length === 0) return 2;
  const isWorse = changes.some(({ verdict }) => verdict === "worse");
  return isWorse || (onlyBefore.length > 0 && !isPartial) ? 3 : 0;
}

/** The last line of a key is the one that counts: files that are appended to hold older ones too. */
function byKey(lines: readonly ResultLine[]): Map<string, ResultLine> {
  return new Map(lines.map((line) => [`${line.benchmark}: ${keyText(line.key)}`, line]));
}

const bandOf = (figure: Figure): Banded =>
  typeof figure === "number" ? { value: figure, low: figure, high: figure } : figure;

function judge(
  figure: FigureName,
  before: Banded,
  after: Banded,
  tolerance: number,
): Pick<Change, "before" | "after" | "relative" | "verdict"> {
  const difference = after.value - before.value;
  const relative = difference === 0 ? 0 : difference / Math.abs(before.value);
  const change = { before: before.value, after: after.value, relative };
  if (after.low <= before.high && before.low <= after.high) return { ...change, verdict: "noise" };
  if (Math.abs(relative) <= tolerance) return { ...change, verdict: "tolerated" };
  const isBetter = difference < 0 === (figures[figure].better === "lower");
  return { ...change, verdict: isBetter ? "better" : "worse" };
}

function differences(before: readonly ResultLine[], after: readonly ResultLine[]): string[] {
  const values = (lines: readonly ResultLine[], name: keyof ResultLine["environment"]) =>
    [...new Set(lines.map(({ environment }) => String(environment[name])))].join(" and ");
  return (["machine", "cpu", "node", "bitloom", "commit", "seed"] as const).flatMap((name) => {
    const [a, b] = [values(before, name), values(after, name)];
    return a === b ? [] : [`${name} ${a} -> ${b}`];
  });
}
