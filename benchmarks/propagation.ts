/**
 * What propagation gains: every registered correction with every registered quantizer at uniform widths, on text that
 * nothing was fitted to or chosen by, with differences paired over windows.
 *
 *   npm run bench:propagation -- [--model M --tokenizer T --text F --evaluate F --pin LAYER=FORMAT --name N]
 *                                [--bits 4,3,2 --quantizers gptq,rtn --results FILE]
 *
 * `qep` is run over a grid of fixed strengths and dampings, so that `auto` meets the best fixed setting as known
 * afterwards, which nobody has beforehand. Without --evaluate the text is cut in halves by characters: the first to
 * calibrate, the second to evaluate. One JSON line per measurement goes to the results file; tables go to stdout.
 */
import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { cpus, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
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
  version,
} from "../src/index.ts";

const root = new URL("../..", import.meta.url);
const embedded = (file: string) => fileURLToPath(new URL(`calibration/tiny-lm/${file}`, root));

const { values: args } = parseArgs({
  options: {
    model: { type: "string", default: embedded("model.onnx") },
    tokenizer: { type: "string" },
    text: { type: "string" },
    evaluate: { type: "string" },
    pin: { type: "string", multiple: true, default: [] },
    bits: { type: "string", default: "4,3,2" },
    quantizers: { type: "string", default: Object.keys(quantizers).join() },
    rows: { type: "string", default: "64" },
    "evaluate-rows": { type: "string", default: "120" },
    name: { type: "string", default: "tiny-lm" },
    results: { type: "string" },
  },
});

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

const results =
  args.results ?? fileURLToPath(new URL(`benchmarks/results/propagation-${args.name}.jsonl`, root));
mkdirSync(dirname(results), { recursive: true });
rmSync(results, { force: true });
const record = (entry: object) => {
  const machine = { node: process.version, cpu: cpus()[0].model, bitloom: version };
  appendFileSync(results, `${JSON.stringify({ model: args.name, ...entry, ...machine })}\n`);
};

const scratch = mkdtempSync(join(tmpdir(), "bitloom-bench-"));
try {
  const data = texts();
  for (const quantizer of args.quantizers.split(",") as QuantizerName[]) {
    for (const bits of args.bits.split(",").map(Number)) await measure(quantizer, bits, data);
  }
} finally {
  rmSync(scratch, { recursive: true });
}
console.log(`\nresults: ${results}`);

interface Texts {
  readonly calibration: string;
  readonly evaluate: string;
}

function texts(): Texts {
  const { text = embedded("calibration.txt"), evaluate } = args;
  if (evaluate) return { calibration: text, evaluate };
  if (!args.text) return { calibration: text, evaluate: embedded("evaluation.txt") };
  const whole = readFileSync(text, "utf8");
  const half = Math.floor(whole.length / 2);
  const [calibration, second] = ["first.txt", "second.txt"].map((name) => join(scratch, name));
  writeFileSync(calibration, whole.slice(0, half));
  writeFileSync(second, whole.slice(half));
  return { calibration, evaluate: second };
}

async function measure(quantizer: QuantizerName, bits: number, data: Texts): Promise<void> {
  const format = `int${bits}-b32-asym`;
  const lab = await openLab(args.model, {
    ...data,
    tokenizer: args.tokenizer,
    window: 256,
    rows: Number(args.rows),
    evaluateRows: Number(args["evaluate-rows"]),
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
    console.log(`\n${args.name}: ${quantizer}, ${format}; differences in millinats per token\n`);
    console.log(
      "| correction | perplexity | KL | likelihood against one by one | against the best fixed qep |\n| --- | --: | --: | --: | --: |",
    );
    for (const [correction, quality] of measured) {
      const againstOneShot = pairedDifference(quality, oneShot, "nll");
      const againstFixed = pairedDifference(quality, best, "nll");
      const perplexity = quality.perplexity.quantized.value;
      const kl = quality.klDivergence.value;
      console.log(
        `| ${correction} | ${perplexity.toFixed(3)} | ${kl.toFixed(4)} | ${text(againstOneShot)} | ${text(againstFixed)} |`,
      );
      const figures = { perplexity, kl, againstOneShot, againstFixed };
      record({ quantizer, format, bits, correction, ...figures, isBestFixed: quality === best });
    }
  } finally {
    await lab.close();
  }
}

function language(quality: Quality): LanguageQuality {
  if (quality.kind === "language") return quality;
  throw new Error(`${args.model} is not a language model, and perplexity is what this measures`);
}

function nll(quality: LanguageQuality): number {
  return quality.perplexity.quantized.value;
}

/** "-12.3 ± 1.2". */
function text({ value, high }: Estimate): string {
  return `${(1e3 * value).toFixed(1)} ± ${(1e3 * (high - value)).toFixed(1)}`;
}
