/** Notices and skipped nodes: what came up in one run only, and what in both. */
import { html, type Markup } from "../../page/html.ts";
import { grouped } from "../../page/numbers.ts";
import type { Section } from "../../page/section.ts";
import { noticeList, skippedTable } from "../../page/sections/remarks.ts";
import type { PairInput } from "../pair.ts";

export function remarksSection({ a, b }: PairInput): Section {
  const notices = split(a.notices, b.notices);
  const skipped = split(a.skipped, b.skipped);
  return {
    id: "remarks",
    title: "Notices and skipped nodes",
    say: html`<p>${
      isEmpty(notices) ? "Nothing unusual happened in either run." : `Notices: ${counts(notices)}.`
    } ${
      isEmpty(skipped)
        ? "No node that could hold weights was passed over."
        : `Nodes that stay in float, each for a reason: ${counts(skipped)}.`
    }</p>`,
    show: html`${byRun(notices, noticeList)}${byRun(skipped, skippedTable)}`,
  };
}

interface Split<T> {
  readonly onlyA: readonly T[];
  readonly onlyB: readonly T[];
  readonly both: readonly T[];
}

function split<T>(a: readonly T[], b: readonly T[]): Split<T> {
  const [ofA, ofB] = [a, b].map((all) => new Set(all.map((one) => JSON.stringify(one))));
  const isIn = (all: ReadonlySet<string>) => (one: T) => all.has(JSON.stringify(one));
  return {
    onlyA: a.filter((one) => !isIn(ofB)(one)),
    onlyB: b.filter((one) => !isIn(ofA)(one)),
    both: a.filter(isIn(ofB)),
  };
}

const isEmpty = ({ onlyA, onlyB, both }: Split<unknown>): boolean =>
  onlyA.length + onlyB.length + both.length === 0;

/** "2 in both, 1 in A only". */
function counts({ onlyA, onlyB, both }: Split<unknown>): string {
  const parts = [
    [both, "in both"],
    [onlyA, "in A only"],
    [onlyB, "in B only"],
  ] as const;
  return parts
    .filter(([list]) => list.length > 0)
    .map(([list, where]) => `${grouped(list.length)} ${where}`)
    .join(", ");
}

const byRun = <T>(
  { onlyA, onlyB, both }: Split<T>,
  show: (list: readonly T[], whose: string) => Markup | null,
): Markup =>
  html`${show(onlyA, " in A only")}${show(onlyB, " in B only")}${show(both, " in both")}`;
