/**
 * Results of `bench:quality` as Markdown: the tables of the README, and of the terminal when a run ends. Pure.
 */
import { markdownTable } from "../harness/table.ts";
import { lowest, type Match, matches, type Point, type QualityResults, where } from "./points.ts";

const shownBits = ["2", "3", "4", "6"];

/** Methods in rows, budgets in columns. */
export function methodsTable({ points }: QualityResults): string {
  const budgets = shownBits.flatMap((bits) => {
    const [ours] = where(points, { kind: "default", propagation: "auto", at: `${bits} bits` });
    return ours ? [{ bits, bytes: Number(ours.details.budgetBytes) }] : [];
  });
  const row = (label: string, find: (bits: string) => Point | undefined) => [
    label,
    ...budgets.map(({ bits }) => cell(find(bits))),
  ];
  const bestUniform = (quantizer: string, propagation: string) => (bits: string) =>
    lowest(
      where(points, { kind: "uniform", quantizer, propagation }).filter(({ key }) =>
        key.format.startsWith(`int${bits}-`),
      ),
    );
  const mixed = (entries: Readonly<Record<string, string>>) => (bits: string) =>
    lowest(where(points, { kind: "mixed", bits, ...entries }));
  const ours = (propagation: string) => (bits: string) =>
    where(points, { kind: "default", propagation, at: `${bits} bits` })[0];
  const quantizers = distinct(where(points, { kind: "uniform" }), "quantizer");
  const rows = [
    ...quantizers.map((name) => row(`best uniform ${name}`, bestUniform(name, "one-by-one"))),
    ...quantizers.map((name) =>
      row(`best uniform ${name}, propagated (\`auto\`)`, bestUniform(name, "auto")),
    ),
    ...["lim", "zd"].map((scorer) =>
      row(
        `\`${scorer}\` + \`ranked\``,
        mixed({ scorer, allocator: "ranked", propagation: "one-by-one" }),
      ),
    ),
    row("the default, not propagated", ours("one-by-one")),
    row("the default, propagated with `qep`", ours("qep")),
    row("**the default**", ours("auto")),
  ].filter((cells) => cells.slice(1).some((text) => text !== "–"));
  const head = budgets.map(
    ({ bits, bytes }) => `${bits} bits: ${bytes.toLocaleString("en")} bytes`,
  );
  return markdownTable(["plan", ...head], rows, [false, ...head.map(() => true)]);
}

/** KL against that of the best uniform plan at the same bytes, by scorer and allocator; and the rank correlations. */
export function scorersTable(results: readonly QualityResults[]): string {
  const [first] = results;
  const bits = ["2", "3", "4"];
  const allocators = distinct(where(first.points, { kind: "mixed" }), "allocator").filter(
    (name) => name !== "uniform",
  );
  const head = results.flatMap(({ model }) => [
    ...allocators.map((name) => `${model}, \`${name}\``),
    `${model}, rank correlation`,
  ]);
  const rows = distinct(where(first.points, { kind: "mixed" }), "scorer").map((scorer) => [
    `\`${scorer}\``,
    ...results.flatMap(({ points, ranks }) => [
      ...allocators.map((allocator) =>
        bits
          .map((width) => {
            const own = where(points, { kind: "mixed", scorer, allocator, bits: width });
            const [one] = where(own, { propagation: "one-by-one" });
            const uniform = lowest(
              where(points, {
                kind: "uniform",
                quantizer: "gptq",
                propagation: "one-by-one",
              }).filter(({ key }) => key.format.startsWith(`int${width}-`)),
            );
            return one && uniform ? (one.kl / uniform.kl).toFixed(2) : "–";
          })
          .join(" / "),
      ),
      bits
        .map((width) => {
          const rank = ranks.find((one) => one.scorer === scorer && one.bits === Number(width));
          return rank ? rank.value.toFixed(2) : "–";
        })
        .join(" / "),
    ]),
  ]);
  return markdownTable(["scorer", ...head], rows);
}

/** KL of mixed plans at a width: layers rounded one by one, propagated with `qep`, and with `auto`. */
export function propagatedScorersTable(results: readonly QualityResults[], bits: string): string {
  const plans = results.map(({ points }) => where(points, { kind: "mixed", bits }));
  const allocators = distinct(plans[0], "allocator").filter((name) => name !== "uniform");
  const rows = distinct(plans[0], "scorer").map((scorer) => [
    `\`${scorer}\``,
    ...plans.flatMap((points) =>
      allocators.map((allocator) =>
        ["one-by-one", "qep", "auto"]
          .map((propagation) => where(points, { scorer, allocator, propagation })[0])
          .map((point) => (point ? number(point.kl) : "–"))
          .join(" / "),
      ),
    ),
  ]);
  const head = results.flatMap(({ model }) => allocators.map((name) => `${model}, \`${name}\``));
  return markdownTable(["scorer", ...head], rows);
}

/** Other tools beside the default at their bytes. */
export function rivalsTable({ points }: QualityResults): string {
  const rows = matches(points, "rival").map(({ other, ours, difference }) => [
    `${other.key.tool} ${String(other.details.version).replace(/^v/, "")}: ${other.key.method}`,
    other.bytes.toLocaleString("en"),
    cell(other),
    cell(ours),
    difference ? signed(difference.value, (difference.high - difference.low) / 2) : "–",
  ]);
  return markdownTable(
    ["tool", "bytes", "its perplexity / KL", "the default at these bytes", "difference in KL"],
    rows,
    [false, true, true, true, true],
  );
}

/** One sentence per exception; how many there are of how many. */
export function verdict({ model, points }: QualityResults): string {
  const of = (kind: "uniform" | "rival", what: string) => {
    const all = matches(points, kind);
    if (all.length === 0) return [];
    const worse = all.filter(({ isWorse }) => isWorse);
    const count = `at or below ${all.length - worse.length} of ${all.length} ${what}`;
    return [worse.length === 0 ? count : `${count} (not ${worse.map(exception).join("; ")})`];
  };
  const parts = [
    ...of(
      "uniform",
      "best uniform plans (of the widths, quantizers and propagations in the committed results)",
    ),
    ...of("rival", "files of other tools"),
  ];
  return `${model}: the default's KL at the same bytes is ${parts.join(" and ")}.`;
}

function exception({ other, ours, difference }: Match): string {
  const { tool, method, quantizer, format, propagation } = other.key;
  const name = tool
    ? `${tool} ${method}`
    : `${quantizer} ${format}${propagation === "one-by-one" ? "" : `, ${propagation}`}`;
  const isChance = difference && difference.low <= 0 ? ", within the interval" : "";
  return `${name}: ${number(ours.kl)} against ${number(other.kl)}${isChance}`;
}

export const distinct = (points: readonly Point[], name: string): string[] => [
  ...new Set(points.flatMap(({ key }) => key[name] ?? [])),
];

const cell = (point: Point | undefined): string =>
  point ? `${point.perplexity.toFixed(2)} / ${number(point.kl)}` : "–";

/** Three significant digits, without exponents down to a millionth. */
export function number(value: number): string {
  if (Math.abs(value) >= 100) return value.toFixed(0);
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value) || 1)));
  return value.toFixed(Math.min(digits, 7));
}

function signed(value: number, half: number): string {
  const digits = Math.min(7, Math.max(0, 1 - Math.floor(Math.log10(half || 1))));
  return `${value > 0 ? "+" : "−"}${Math.abs(value).toFixed(digits)} ± ${half.toFixed(digits)}`;
}
