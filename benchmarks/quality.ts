/**
 * Quality against bytes from 2 to 8 bits per weight: uniform plans of every quantizer, every scorer with every
 * allocator, other tools, and the default, with and without propagation, all on the same windows.
 *
 *   npm run bench:quality -- [--quick] [--python PATH]… [--model M --tokenizer T --text F [--evaluate F] [--name N]]
 *     [--rows 64 --evaluate-rows 120] [--bits 2,2.5,3,…] [--results FILE]
 *
 * Budgets are the bytes of the uniform plans that are best on the evaluation data themselves, and bytes in between. Every
 * distinct plan is measured once. An interrupted run goes on when the same command is given again: what is measured
 * lies in `FILE.partial` until the end. `npm run bench:plots` makes pictures and the README's tables of the results.
 */
import {
  type AllocatorName,
  allocators,
  type CorrectionName,
  type Quality,
  type QuantizerName,
  quantizers,
  type ScorerName,
  scorers,
} from "../src/index.ts";
import { file, flag, names, numbers, readArguments, repeated } from "./harness/arguments.ts";
import { fingerprint } from "./harness/fingerprint.ts";
import { openJournal } from "./harness/journal.ts";
import { createProgress } from "./harness/progress.ts";
import { defaultResults, openResults } from "./harness/results.ts";
import { openSubject, subjectOptions } from "./harness/subject.ts";
import { budgetsFor } from "./quality/budgets.ts";
import { measureDefault } from "./quality/default.ts";
import { differenceOf, type Entry, toMeasurement } from "./quality/entry.ts";
import { type Bench, openBench } from "./quality/measure.ts";
import { measureMixed, measureRanks, scoreAll } from "./quality/mixed.ts";
import type { Propagation } from "./quality/plan.ts";
import { printSummary } from "./quality/print.ts";
import { measureRivals, type RivalRun } from "./quality/rivals.ts";
import { bestUniform, measureUniform, type UniformEntry } from "./quality/uniform.ts";

const keys = <N extends string>(registry: Readonly<Record<N, unknown>>) =>
  Object.keys(registry) as N[];
const corrections: readonly CorrectionName[] = ["qep", "auto"];
const widths = [2, 3, 4, 5, 6, 8];
const { values: given } = readArguments("bench:quality", {
  ...subjectOptions,
  bits: numbers(
    "bits per weight, about: widths of uniform plans, and between",
    [2, 2.5, 3, 3.5, 4, 5, 6, 8],
  ),
  quantizers: names("of uniform plans", keys<QuantizerName>(quantizers)),
  scorers: names("of mixed plans", keys<ScorerName>(scorers)),
  allocators: names("of mixed plans", keys<AllocatorName>(allocators)),
  corrections: names("of propagated plans", corrections),
  "propagated-bits": numbers(
    "bits at which plans are propagated too, which takes several times as long",
    [2, 3, 4],
  ),
  python: repeated("a Python with packages of benchmarks/rivals/; python3 by default"),
  quick: flag("2 to 4 bits, few methods, few windows: a look, no result"),
  results: file("where results go; benchmarks/results/quality-NAME.jsonl by default"),
});
const args = given.quick
  ? {
      ...given,
      ...{ rows: 16, "evaluate-rows": 16, bits: [2, 3, 4], corrections: ["auto"] as const },
      quantizers: ["rtn", "gptq"] as const,
      scorers: ["weight-error", "lim", "zd", "measured-kl"] as const,
    }
  : given;
const subject = openSubject(args);
const path = args.results ?? defaultResults(`quality-${subject.name}`, args.quick);

const progress = createProgress();
const { model, data } = subject;
const files = [model, data.calibration, data.evaluate, ...(data.tokenizer ? [data.tokenizer] : [])];
const { rows, window, evaluateRows, seed } = data;
const journal = openJournal(
  `${path}.partial`,
  await fingerprint(files, { rows, window, evaluateRows, seed }),
);
if (journal.dropped) progress.note("dropped what was measured of other data, options or code");
if (journal.resumed > 0) progress.note(`going on with ${journal.resumed} pieces that are there`);
// Before the one that removes temporary folders.
process.prependOnceListener("SIGINT", () => {
  progress.note(`interrupted; the same command goes on from ${path}.partial`);
  process.exit(130);
});

const plain: readonly Propagation[] = ["one-by-one"];
const propagations: readonly Propagation[] = [...plain, ...args.corrections];
/** How plans are rounded at a width or budget. */
const propagationsAt = (bits: number) =>
  args["propagated-bits"].includes(bits) ? propagations : plain;
const bench = openBench(subject, journal, progress);
try {
  const weights = await bench.weights();
  const uniform = await measureUniform(bench, {
    quantizers: args.quantizers,
    propagationsAt,
    widths: widths.filter((width) => between(width)),
  });
  const best = bestUniform(uniform);
  const reference = best.filter(
    ({ quantizer, propagation }) => quantizer === "gptq" && propagation === "one-by-one",
  );
  const budgets = budgetsFor(new Map(reference.map(({ bits, bytes }) => [bits, bytes])), args.bits);
  const scored = await scoreAll(bench, args.scorers);
  const mixed = await measureMixed(bench, scored, {
    ...{ allocators: args.allocators, propagationsAt, budgets },
  });
  const rivals = await measureRivals(bench, args.python.length > 0 ? args.python : ["python3"]);
  const ours: Entry[] = [];
  for (const { bits, bytes } of budgets) {
    for (const propagation of new Set<Propagation>([...propagationsAt(bits), "auto"])) {
      ours.push(await defaultEntry(bench, `${bits} bits`, { budgetBytes: bytes, propagation }));
    }
  }
  const matched = [...(await matchUniform(bench, best)), ...(await matchRivals(bench, rivals))];
  const ranks = await measureRanks(
    bench,
    scored,
    reference.filter(({ bits }) => bits <= 4).map(({ format }) => format),
  );
  const results = openResults("quality", path, { seed });
  const entries = [...uniform, ...mixed, ...ours, ...matched];
  for (const measurement of [...entries.map((entry) => toMeasurement(entry, weights)), ...ranks]) {
    const key = { model: subject.name, ...measurement.key };
    results.write({ ...measurement, key });
  }
  journal.remove();
  printSummary(path);
} finally {
  await bench.close();
}

function between(width: number): boolean {
  return width >= Math.floor(Math.min(...args.bits)) && width <= Math.ceil(Math.max(...args.bits));
}

/** The default at some bytes; with the other method at those bytes, how far apart the two are. */
async function defaultEntry(
  on: Bench,
  at: string,
  options: Parameters<typeof measureDefault>[1],
  other?: Quality,
): Promise<Entry> {
  const { quality, bytes, ...details } = await measureDefault(on, options);
  const difference = other && differenceOf(quality, other);
  return {
    key: { kind: "default", propagation: options.propagation, at },
    ...{ bytes, quality },
    details: { budgetBytes: options.budgetBytes, ...details, ...(difference && { difference }) },
  };
}

/** The default at the bytes of the best uniform plans of all quantizers and propagations. */
async function matchUniform(on: Bench, best: readonly UniformEntry[]): Promise<Entry[]> {
  const entries: Entry[] = [];
  for (const { quantizer, propagation, format, bytes, quality } of best) {
    const at = `uniform ${quantizer} ${format} ${propagation}`;
    const options = { budgetBytes: bytes, propagation: "auto" as const };
    entries.push(await defaultEntry(on, at, options, quality));
  }
  return entries;
}

/** Every rival, and the default at its bytes, with the layers in float that the rival leaves in float. */
async function matchRivals(on: Bench, rivals: readonly RivalRun[]): Promise<Entry[]> {
  const entries: Entry[] = [];
  for (const { tool, version, method, bytes, quality, floatLayers } of rivals) {
    const key = { kind: "rival", tool, method };
    entries.push({ key, bytes, quality, details: { version, floatLayers } });
    const options = { budgetBytes: bytes, propagation: "auto" as const, floatLayers };
    entries.push(await defaultEntry(on, `${tool} ${method}`, options, quality));
  }
  return entries;
}
