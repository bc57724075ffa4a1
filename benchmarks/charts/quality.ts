/**
 * The pictures of `bench:quality`: every method's quality against bits per weight, scorers beside each other, and other
 * tools beside the default.
 */
import { lowest, matches, type Point, type QualityResults, where } from "../quality/points.ts";
import { distinct } from "../quality/tables.ts";
import { dumbbellChart } from "./dumbbells.ts";
import { type LineChart, lineChart, type Series } from "./lines.ts";

export interface Picture {
  /** "kl", "perplexity", "scorers", "rivals". */
  readonly name: string;
  readonly svg: string;
}

type Measure = "kl" | "perplexity";

export function qualityPictures(results: QualityResults): Picture[] {
  return [
    { name: "kl", svg: methodsChart(results, "kl") },
    { name: "perplexity", svg: methodsChart(results, "perplexity") },
    { name: "scorers", svg: scorersChart(results) },
    ...(matches(results.points, "rival").length > 0
      ? [{ name: "rivals", svg: rivalsChart(results) }]
      : []),
  ];
}

/** 1, 2 and 5 times every power of ten. */
const allTicks = Array.from({ length: 12 }, (_, at) => 10 ** (at - 7)).flatMap((power) =>
  [1, 2, 5].map((factor) => Number((factor * power).toPrecision(1))),
);
const powers = allTicks.filter((tick) => `${tick.toExponential()}`.startsWith("1"));

/** Powers of ten; finer where there would be few of them. */
function klTicks(series: readonly Series[]): readonly number[] {
  const values = series.flatMap(({ points }) => points.map(({ y }) => y));
  return Math.max(...values) / Math.min(...values) < 1000 ? allTicks : powers;
}
const perplexityTicks = [
  3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 16, 18, 20, 25, 30, 40, 50, 60, 80, 100, 150, 200,
];
const xTicks = [2, 3, 4, 5, 6, 7, 8, 9, 10, 12];

/** The least of each run of points: what a user would choose of a method's formats. */
function curve(points: readonly Point[], measure: Measure): Series["points"] {
  return [...points]
    .sort((a, b) => a.bitsPerWeight - b.bitsPerWeight)
    .filter(({ bytes }, at, all) => all.findIndex((other) => other.bytes === bytes) === at)
    .map((point) => ({ x: point.bitsPerWeight, y: point[measure] }))
    .filter(({ y }) => y > 0);
}

/** The best format of every width. */
function bestOfWidths(points: readonly Point[]): Point[] {
  const widths = new Set(points.map(({ key }) => key.format.split("-")[0]));
  return [...widths].flatMap(
    (width) => lowest(points.filter(({ key }) => key.format.split("-")[0] === width)) ?? [],
  );
}

const uniformColours: Readonly<Record<string, string>> = {
  rtn: "var(--grey)",
  gptq: "var(--a)",
  hqq: "var(--e)",
};

function methodsChart(results: QualityResults, measure: Measure): string {
  const { model, points, floatPerplexity } = results;
  const uniform = (quantizer: string, propagation: string) =>
    bestOfWidths(where(points, { kind: "uniform", quantizer, propagation }));
  const ours = (propagation: string) =>
    where(points, { kind: "default", propagation }).filter(({ key }) =>
      /^[\d.]+ bits$/.test(key.at),
    );
  const ranked = (scorer: string) =>
    where(points, { kind: "mixed", scorer, allocator: "ranked", propagation: "one-by-one" });
  const lines: [string, readonly Point[], Omit<Series, "label" | "points">][] = [
    ...distinct(where(points, { kind: "uniform" }), "quantizer").map(
      (name): [string, readonly Point[], Omit<Series, "label" | "points">] => [
        `uniform, ${name}`,
        uniform(name, "one-by-one"),
        { colour: uniformColours[name] ?? "var(--grey)" },
      ],
    ),
    ["uniform, gptq, propagated", uniform("gptq", "auto"), { colour: "var(--a)", isDashed: true }],
    ["lim, two widths", ranked("lim"), { colour: "var(--b)" }],
    ["zd, two widths", ranked("zd"), { colour: "var(--c)" }],
    ["default, not propagated", ours("one-by-one"), { colour: "var(--ours-soft)" }],
    ["default", ours("auto"), { colour: "var(--ours)", isStrong: true }],
  ];
  const series = lines
    .map(([label, some, style]): Series => ({ label, ...style, points: curve(some, measure) }))
    .filter((one) => one.points.length > 1);
  const isKl = measure === "kl";
  const chart: LineChart = {
    title: isKl ? `${model}: KL divergence from the float model` : `${model}: perplexity`,
    subtitle: isKl
      ? "nats per token, logarithmic; uniform plans are the best of each width on the evaluation data itself"
      : "logarithmic; uniform plans are the best of each width on the evaluation data itself",
    description: describe(series, isKl ? "KL divergence" : "perplexity"),
    series,
    xTicks,
    yTicks: isKl ? klTicks(series) : perplexityTicks,
    ...(isKl
      ? {}
      : { floor: { y: floatPerplexity, label: `float: ${floatPerplexity.toFixed(2)}` } }),
  };
  return lineChart(chart);
}

const scorerColours = ["--grey", "--b", "--c", "--a", "--d", "--e", "--other", "--ink"];
/** The default's. */
const ownScorer = "measured-kl";

function scorersChart({ model, points }: QualityResults): string {
  const scorers = distinct(where(points, { kind: "mixed" }), "scorer");
  const reference = bestOfWidths(
    where(points, { kind: "uniform", quantizer: "gptq", propagation: "one-by-one" }),
  );
  const lines = scorers.map((scorer, at): Series => {
    const some = where(points, {
      kind: "mixed",
      scorer,
      allocator: "knapsack",
      propagation: "one-by-one",
    });
    const isStrong = scorer === ownScorer;
    const colour = `var(${isStrong ? "--ours" : scorerColours[at % scorerColours.length]})`;
    return { label: scorer, colour, isStrong, points: curve(some, "kl") };
  });
  const series = [
    ...lines.filter((one) => one.points.length > 1),
    {
      label: "uniform gptq",
      colour: "var(--soft)",
      isDashed: true,
      points: curve(reference, "kl"),
    },
  ];
  return lineChart({
    title: `${model}: what each scorer makes of the same bytes`,
    subtitle:
      "KL divergence from the float model, nats per token, logarithmic; knapsack, gptq, layers rounded one by one",
    description: describe(series, "KL divergence"),
    series,
    xTicks,
    yTicks: klTicks(series),
  });
}

function rivalsChart({ model, points }: QualityResults): string {
  const found = matches(points, "rival")
    .filter(({ other, ours }) => other.kl > 0 && ours.kl > 0)
    .sort((a, b) => a.other.key.tool.localeCompare(b.other.key.tool, "en"));
  const pairs = found.map(({ other, ours }) => ({
    label: `${other.key.tool}: ${other.key.method}`,
    note: `${other.bitsPerWeight.toFixed(2)} bits`,
    other: other.kl,
    ours: ours.kl,
  }));
  return dumbbellChart({
    title: `${model}: other tools and bitloom at the same bytes`,
    subtitle:
      "KL divergence from the float model, nats per token, logarithmic; left is better; bits per weight are on the right",
    description: pairs
      .map(({ label, other, ours }) => `${label}: ${other}, bitloom ${ours}`)
      .join("; "),
    pairs,
    xTicks: powers,
    otherLabel: "the tool's file",
    oursLabel: "bitloom",
  });
}

const describe = (series: readonly Series[], measure: string): string =>
  `${measure} by bits per weight. ${series
    .map(
      ({ label, points }) =>
        `${label}: ${points.map(({ x, y }) => `${x.toFixed(2)} bits ${y.toPrecision(3)}`).join(", ")}`,
    )
    .join("; ")}.`;
