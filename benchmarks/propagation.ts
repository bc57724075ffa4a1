/**
 * What propagation gains: every registered correction with every registered quantizer at uniform widths, on text that
 * nothing was fitted to or chosen by, with differences paired over windows.
 *
 *   npm run bench:propagation -- [--model M --tokenizer T --text F --evaluate F --pin LAYER=FORMAT --name N]
 *                                [--rows 64 --evaluate-rows 120 --bits 4,3,2 --quantizers gptq,rtn --results FILE]
 *
 * `qep` is run over a grid of fixed strengths and dampings, so that `auto` meets the best fixed setting as known
 * afterwards, which nobody has beforehand. Without --evaluate the text is cut in halves by characters: the first to
 * calibrate, the second to evaluate. One JSON line per measurement goes to the results file; tables go to stdout.
 */
import {
  allocateBits,
  corrections,
  type Estimate,
  type LanguageQuality,
  openLab,
  pairedDifference,
  parseFormats,
  parsePin,
  type Quality,
  type QuantizerName,
  quantizers,
  type SequentialPlan,
} from "../src/index.ts";
import { file, names, numbers, readArguments, repeated } from "./harness/arguments.ts";
import { banded } from "./harness/figures.ts";
import { createProgress } from "./harness/progress.ts";
import { openResults, resultsPath } from "./harness/results.ts";
import { openSubject, subjectOptions } from "./harness/subject.ts";
import { markdownTable } from "./harness/table.ts";
import { qualityFigures } from "./quality/figures.ts";

const { values: args } = readArguments("bench:propagation", {
  ...subjectOptions,
  pin: repeated("LAYER=FORMAT, as for the command"),
  bits: numbers("uniform widths", [4, 3, 2]),
  quantizers: names("quantizers to run", Object.keys(quantizers) as QuantizerName[]),
  results: file("where results go; benchmarks/results/propagation-NAME.jsonl by default"),
});
const subject = openSubject(args);

type Setting = Omit<SequentialPlan, "picks">;

/** Fixed settings of QEP; the others run as they are by default. */
const grid = [0.5, 1].flatMap((correctionAlpha) =>
  [0.01, 0.1, 1].map(
    (correctionDamping): Setting => ({ correction: "qep", correctionAlpha, correctionDamping }),
  ),
);
const settings: readonly Setting[] = (
  Object.keys(corrections) as (keyof typeof corrections)[]
).flatMap((correction): readonly Setting[] => (correction === "qep" ? grid : [{ correction }]));

const nameOf = ({ correction, correctionAlpha, correctionDamping }: Setting) =>
  correctionAlpha === undefined
    ? String(correction)
    : `${correction} α ${correctionAlpha} λ ${correctionDamping}`;

const results = openResults(
  "propagation",
  args.results ?? resultsPath(`propagation-${subject.name}`),
);
const progress = createProgress();
progress.expect("quantizer and width", args.quantizers.length * args.bits.length);
for (const quantizer of args.quantizers) {
  for (const bits of args.bits) await measure(quantizer, bits);
}
console.log(`\nresults: ${results.path}`);

async function measure(quantizer: QuantizerName, bits: number): Promise<void> {
  const start = performance.now();
  const format = `int${bits}-b32-asym`;
  const lab = await openLab(subject.model, {
    ...subject.data,
    quantizer,
    formats: parseFormats(format),
    pins: args.pin.map(parsePin),
  });
  try {
    const layers = await lab.score("weight-error");
    const picks = await allocateBits({
      layers,
      budgetBytes: Number.MAX_SAFE_INTEGER,
      allocator: "uniform",
    });
    const [oneShot] = (await lab.evaluate([picks])).map(language);
    const sequential = await lab.evaluateSequential(
      settings.map((setting) => ({ ...setting, picks })),
    );
    const measured = new Map([
      ["one by one", oneShot],
      ...settings.map((setting, i) => [nameOf(setting), language(sequential[i])] as const),
    ]);
    const fixed = grid.map((setting) => measured.get(nameOf(setting)) as LanguageQuality);
    const best = fixed.reduce((a, b) => (nll(b) < nll(a) ? b : a));
    console.log(`\n${subject.name}: ${quantizer}, ${format}; differences in millinats per token\n`);
    const rows = [...measured].map(([correction, quality]) => {
      const againstOneShot = pairedDifference(quality, oneShot, "nll");
      const againstFixed = pairedDifference(quality, best, "nll");
      const perplexity = quality.perplexity.quantized.value.toFixed(3);
      const kl = quality.klDivergence.value.toFixed(4);
      const differences = {
        againstOneShot: banded(againstOneShot),
        againstFixed: banded(againstFixed),
      };
      results.write({
        key: { model: subject.name, quantizer, format, correction },
        figures: qualityFigures(quality),
        details: { ...differences, isBestFixed: quality === best },
      });
      return [correction, perplexity, kl, text(againstOneShot), text(againstFixed)];
    });
    const head = ["correction", "perplexity", "KL", "likelihood against one by one"];
    console.log(
      markdownTable([...head, "against the best fixed qep"], rows, [false, true, true, true, true]),
    );
    progress.done("quantizer and width", `${quantizer}, ${format}`, performance.now() - start);
  } finally {
    await lab.close();
  }
}

function language(quality: Quality): LanguageQuality {
  if (quality.kind === "language") return quality;
  throw new Error(`${subject.model} is not a language model, and perplexity is what this measures`);
}

function nll(quality: LanguageQuality): number {
  return quality.perplexity.quantized.value;
}

/** "-12.3 ± 1.2". */
function text({ value, high }: Estimate): string {
  return `${(1e3 * value).toFixed(1)} ± ${(1e3 * (high - value)).toFixed(1)}`;
}
