/** The whole job on small models, judged by the files it writes. */
import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parsePin } from "../../src/allocate/index.ts";
import { isBitloomError } from "../../src/core/errors.ts";
import type { Event } from "../../src/core/events.ts";
import { parseFormat } from "../../src/core/format.ts";
import type { Allocator, Quantizer } from "../../src/core/method.ts";
import { defineScorer, type Scorer } from "../../src/core/score.ts";
import { findLayers } from "../../src/layers/index.ts";
import { encodeModel, openModel } from "../../src/onnx/index.ts";
import type { QuantizePipelineOptions } from "../../src/pipeline/options.ts";
import { quantize } from "../../src/pipeline.ts";
import { quantizers } from "../../src/quantize/index.ts";
import { toyTransformer } from "../support/toy-models.ts";

const tinyLm = join(import.meta.dirname, "../../calibration/tiny-lm");
let folder: string;
let toyPath: string;
let count = 0;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "bitloom-test-"));
  toyPath = join(folder, "toy.onnx");
  await writeFile(toyPath, await encodeModel(toyTransformer()));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** A fresh, empty folder for each output, so that what is left behind shows. */
async function fresh(): Promise<{ readonly dir: string; readonly output: string }> {
  const dir = join(folder, `run-${count++}`);
  await mkdir(dir);
  return { dir, output: join(dir, "out.onnx") };
}

const formats = ["int2-b16", "int4-b16", "int8-b16"].map(parseFormat);

/** Cheap options for the toy: synthetic tokens, no statistics. */
const cheap = {
  budget: "4.6bpw",
  scorer: "weight-error",
  quantizer: "rtn",
  formats,
  rows: 4,
  evaluateRows: 4,
  window: 8,
} as const satisfies Partial<QuantizePipelineOptions>;

async function quantizeToy(options: Partial<QuantizePipelineOptions> = {}) {
  const { dir, output } = await fresh();
  const result = await quantize(toyPath, { ...cheap, output, ...options });
  return { ...result, output, dir };
}

const sha256 = async (path: string) =>
  createHash("sha256")
    .update(await readFile(path))
    .digest("hex");

/** Bytes of the tensors that the written file has and the float file has not. */
async function addedBytes(path: string, original: string): Promise<number> {
  const [written, before] = await Promise.all([openModel(path), openModel(original)]);
  let bytes = 0;
  for (const [name, tensor] of written.graph.initializers)
    if (!before.graph.initializers.has(name)) bytes += tensor.byteLength;
  return bytes;
}

const failure = async (work: Promise<unknown>) => {
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (!isBitloomError(error)) throw new Error(`expected a BitloomError, got ${String(error)}`);
  return error;
};

describe("tiny-lm, output-error, round-to-nearest", () => {
  const model = join(tinyLm, "model.onnx");
  const options = {
    calibration: join(tinyLm, "calibration.txt"),
    scorer: "output-error",
    quantizer: "rtn",
    formats: ["int4-b32", "int8-b64"].map(parseFormat),
    rows: 8,
    evaluateRows: 4,
    window: 64,
  } as const satisfies Partial<QuantizePipelineOptions>;

  test("the report says what is in the file, and a replayed plan writes the same bytes", async () => {
    const { output } = await fresh();
    const { report, plan } = await quantize(model, { ...options, output, budget: "5bpw" });
    expect((await stat(output)).size).toBe(report.output.bytes);
    expect(await addedBytes(output, model)).toBe(report.weightBytes);
    expect(report.weightBytes).toBeLessThanOrEqual(report.budgetBytes);
    expect(report.budgetBytes).toBe(Math.floor((5 * report.weights) / 8));
    expect(report.bitsPerWeight).toBeLessThanOrEqual(5);
    expect(report.layers.reduce((sum, { bytes }) => sum + bytes, 0)).toBe(report.weightBytes);
    expect(new Set(report.layers.map(({ format }) => format)).size).toBe(2);
    expect(report.model.sha256).toBe(await sha256(model));
    expect(report.quality).toMatchObject({ kind: "language", windows: 4, tokens: 256 });
    expect(plan.layers.map(({ layer, format }) => [layer, format])).toEqual(
      report.layers.map(({ name, format }) => [name, format]),
    );
    expect(plan).toMatchObject({ scorer: "output-error", quantizer: "rtn", allocator: "knapsack" });
    expect(report.notices.map(({ code }) => code)).not.toContain("synthetic-calibration");
    // What is on by default is recorded, and so is what the data was.
    expect(report.options).toMatchObject({
      ...{ correction: "auto", correctionAlpha: null, maxBits: null, externalData: "auto" },
      ...{ calibrationSamples: 8, evaluationSamples: 4, memoryLimitBytes: 2 ** 29 },
    });
    for (const { opType, outliers } of report.layers) {
      expect(outliers.inputPeak === null).toBe(opType === "Gather");
      // The largest number of all channels is at least the strongest channel's root mean square.
      expect(outliers.inputPeak ?? 1).toBeGreaterThanOrEqual(outliers.channelPeak ?? 1);
    }

    const again = await fresh();
    const { formats: _offered, scorer: _scorer, ...rest } = options;
    const replayed = await quantize(model, { ...rest, output: again.output, plan, threads: 1 });
    expect(await sha256(again.output)).toBe(await sha256(output));
    expect(replayed.plan).toEqual(plan);
    expect(replayed.report.gate).toBeNull();
  });

  test.each(["0.95MB", "19%", "900kB"])(
    "a file budget of %s is kept by the real file",
    async (budget) => {
      const { output } = await fresh();
      const { report } = await quantize(model, {
        ...options,
        scorer: "weight-error",
        output,
        budget,
      });
      const float = (await stat(model)).size;
      const most = { "0.95MB": 950_000, "19%": 0.19 * float, "900kB": 900_000 }[budget] ?? 0;
      const { size } = await stat(output);
      expect(size).toBeLessThanOrEqual(most);
      // Not by much: the largest layer's next format would not have fitted.
      expect(size).toBeGreaterThan(0.85 * most);
      expect(await addedBytes(output, model)).toBe(report.weightBytes);
    },
  );
});

describe("budgets on a model whose graph outweighs its weights", () => {
  test.each([3, 3.5, 4.2, 6, 9])("%d bits per weight", async (bits) => {
    const { report, output } = await quantizeToy({ budget: `${bits}bpw` });
    expect(report.bitsPerWeight).toBeLessThanOrEqual(bits);
    expect(await addedBytes(output, toyPath)).toBe(report.weightBytes);
  });

  test("bytes of the file, functions of packed layers included, whoever wins the gate", async () => {
    const offered = ["int2-b16", "int3-b16", "int8-b16"].map(parseFormat);
    let winners = "";
    for (const scorer of ["weight-error", liar] as const) {
      for (let budget = 7950; budget < 10_000; budget += 500) {
        const run = await quantizeToy({ formats: offered, scorer, rows: 32, budget: `${budget}B` });
        expect((await stat(run.output)).size).toBeLessThanOrEqual(budget);
        winners += run.report.gate?.written ?? "";
      }
    }
    expect(winners).toContain("uniform");
    expect(winners).toContain("plan");
  });

  test("an impossible budget fails before anything is measured, naming what is possible", async () => {
    const stages: string[] = [];
    const { dir, output } = await fresh();
    const onEvent = (event: Event) => event.type === "stage" && stages.push(event.stage);
    const error = await failure(quantize(toyPath, { ...cheap, output, budget: "1bpw", onEvent }));
    expect(error.code).toBe("infeasible-budget");
    expect(stages).not.toContain("score");
    expect(await readdir(dir)).toEqual([]);
  });
});

/** Table and head may have two bits at no cost, the others want as many as there are; three are never worth it. */
const liar: Scorer = defineScorer({
  summary: "says the opposite of the truth",
  source: "made up",
  needs: [],
  forward: false,
  unit: "lies",
  score: async ({ candidates }) =>
    new Map(
      candidates.map(({ layer: { id }, formats: offered }) => [
        id,
        {
          losses: offered.map(({ bits }) =>
            id === "embed" || id === "head" || bits === 8 ? 0 : 1000 - bits,
          ),
        },
      ]),
    ),
});

describe("the gate", () => {
  test("a plan that is worse than uniform bits is not written, and the report says so", async () => {
    const { report, plan } = await quantizeToy({
      scorer: liar,
      budget: "5.2bpw",
      formats: ["int2-b16", "int4-b16", "int8-b16"].map(parseFormat),
    });
    const { gate } = report;
    expect(gate?.written).toBe("uniform");
    expect(gate?.uniform?.loss).toBeLessThan(gate?.planLoss ?? 0);
    expect(new Set(plan.layers.map(({ format }) => format))).toEqual(
      new Set([gate?.uniform?.format]),
    );
    expect(report.weightBytes).toBe(gate?.uniform?.bytes);
    const notice = report.notices.find(({ code }) => code === "uniform-wins");
    expect(notice?.message).toMatch(/^On the gate split uniform int4-b16 is better/);
  });

  test("a good plan is written, and no notice is given", async () => {
    const { report } = await quantizeToy({ scorer: "measured-kl", budget: "8bpw" });
    expect(report.gate?.written).toBe("plan");
    expect(report.notices.map(({ code }) => code)).not.toContain("uniform-wins");
    expect(report.scoreUnit).toBe("nats per token");
  });
});

describe("constraints", () => {
  test("pins hold, floats included; all other layers share what is left", async () => {
    const pins = [parsePin("head=int8-b16"), parsePin("embed=float32"), parsePin("q*=int2-b16")];
    const { report } = await quantizeToy({ pins, budget: "12bpw" });
    const formatOf = new Map(report.layers.map(({ name, format }) => [name, format]));
    expect(formatOf.get("head")).toBe("int8-b16");
    expect(formatOf.get("embed")).toBe("float32");
    expect([formatOf.get("q0"), formatOf.get("q1")]).toEqual(["int2-b16", "int2-b16"]);
    expect(report.bitsPerWeight).toBeLessThanOrEqual(12);
  });

  test("least and most bits hold", async () => {
    const most = await quantizeToy({ maxBits: 4, budget: "9bpw" });
    expect(new Set(most.report.layers.map(({ bits }) => bits))).toEqual(new Set([4]));
    const least = await quantizeToy({ minBits: 4, budget: "5.1bpw" });
    expect(least.report.layers.every(({ bits }) => bits >= 4)).toBe(true);
  });
});

describe("reproducibility", () => {
  test("same bytes and same plan with one thread, three threads, and twice", async () => {
    const options = { scorer: "measured-kl", quantizer: "gptq", rows: 8 } as const;
    const runs = [
      await quantizeToy({ ...options, threads: 1 }),
      await quantizeToy({ ...options, threads: 3 }),
      await quantizeToy({ ...options, threads: 3 }),
    ];
    const hashes = await Promise.all(runs.map(({ output }) => sha256(output)));
    expect(new Set(hashes).size).toBe(1);
    for (const { plan, report } of runs) {
      expect(plan).toEqual(runs[0].plan);
      expect(report.quality).toEqual(runs[0].report.quality);
      expect(report.gate).toEqual(runs[0].report.gate);
    }
  });

  test("another seed draws other data", async () => {
    const [a, b] = [await quantizeToy({ seed: 1 }), await quantizeToy({ seed: 2 })];
    expect(a.report.quality).not.toEqual(b.report.quality);
  });
});

describe("own methods", () => {
  test("a scorer, an allocator and a quantizer of the caller's", async () => {
    const calls: string[] = [];
    const scorer = defineScorer({
      summary: "bits only",
      source: "made up",
      needs: ["absMax"],
      forward: false,
      unit: "bits missing",
      async score({ candidates, stats }) {
        calls.push("score");
        expect(stats.get("head")?.absMax?.length).toBe(16);
        return new Map(
          candidates.map(({ layer, formats: offered }) => [
            layer.id,
            { losses: offered.map(({ bits }) => 32 - bits) },
          ]),
        );
      },
    });
    const allocator: Allocator = {
      summary: "smallest",
      source: "made up",
      needs: [],
      allocate: ({ layers }) => {
        calls.push("allocate");
        return layers.map(({ alternatives }) =>
          alternatives.reduce((a, b) => (b.bytes < a.bytes ? b : a)),
        );
      },
    };
    const quantizer: Quantizer = {
      ...quantizers.rtn,
      quantize(input) {
        calls.push("quantize");
        return quantizers.rtn.quantize(input);
      },
    };
    const { report, plan } = await quantizeToy({ scorer, allocator, quantizer });
    expect(new Set(calls)).toEqual(new Set(["score", "allocate", "quantize"]));
    expect(plan).toMatchObject({ scorer: "custom", allocator: "custom", quantizer: "custom" });
    expect(new Set(report.layers.map(({ format }) => format))).toEqual(new Set(["int2-b16"]));
    expect(report.scoreUnit).toBe("bits missing");
  });

  test("an own scorer that leaves layers out is told so, and nothing is written", async () => {
    const scorer = defineScorer({
      summary: "lazy",
      source: "made up",
      needs: [],
      forward: false,
      unit: "none",
      score: async () => new Map(),
    });
    const { dir, output } = await fresh();
    const error = await failure(quantize(toyPath, { ...cheap, output, scorer }));
    expect(error.message).toMatch(/^The scorer broke its contract/);
    expect(await readdir(dir)).toEqual([]);
  });
});

describe("notices", () => {
  test("synthetic data is said loudly, once", async () => {
    const events: Event[] = [];
    const { report } = await quantizeToy({ onEvent: (event) => events.push(event) });
    const codes = events.flatMap((event) => (event.type === "notice" ? [event.notice.code] : []));
    expect(codes.filter((code) => code === "synthetic-calibration").length).toBe(1);
    expect(report.notices.map(({ code }) => code)).toEqual(codes);
  });

  test("strict turns a notice into an error, with nothing written", async () => {
    const { dir, output } = await fresh();
    const error = await failure(quantize(toyPath, { ...cheap, output, strict: true }));
    expect(error).toMatchObject({ code: "bad-option", detail: { got: "synthetic-calibration" } });
    expect(await readdir(dir)).toEqual([]);
  });
});

describe("stopping", () => {
  const stages = [
    "open",
    "data",
    "preflight",
    "calibrate",
    "score",
    "plan",
    "gate",
    "propagate",
    "growth",
    "quantize",
    "compare",
    "evaluate",
    "save",
  ];

  test.each(stages)("the signal in stage %s: aborted, no output", async (stage) => {
    const { dir, output } = await fresh();
    const controller = new AbortController();
    const seen: string[] = [];
    const work = quantize(toyPath, {
      ...cheap,
      scorer: "output-error",
      output,
      signal: controller.signal,
      onEvent(event) {
        if (event.type !== "stage") return;
        seen.push(event.stage);
        if (event.stage === stage) controller.abort();
      },
    });
    expect((await failure(work)).code).toBe("aborted");
    expect(seen).toEqual(stages.slice(0, stages.indexOf(stage) + 1));
    // Finished layers wait for the next run, nothing else does.
    const isPropagated = stages.indexOf(stage) >= stages.indexOf("propagate");
    expect(await readdir(dir)).toEqual(isPropagated ? [`${basename(output)}.checkpoint`] : []);
  });
});

describe("outputs that must not be written are refused before any work", () => {
  const refused = async (output: string, force = false) => {
    const events: Event[] = [];
    const onEvent = (event: Event) => events.push(event);
    const error = await failure(quantize(toyPath, { ...cheap, output, force, onEvent }));
    expect(error.code).toBe("output");
    expect(events).toEqual([]);
    return error.message;
  };

  test("the input itself, even with force", async () => {
    const before = await sha256(toyPath);
    expect(await refused(toyPath)).toMatch(/is the input model/);
    expect(await refused(toyPath, true)).toMatch(/is the input model/);
    expect(await sha256(toyPath)).toBe(before);
  });

  test("a file that exists, unless forced; a folder; a folder that does not exist", async () => {
    const { dir, output } = await fresh();
    await writeFile(output, "precious");
    expect(await refused(output)).toMatch(/exists already/);
    expect(await readFile(output, "utf8")).toBe("precious");
    expect(await refused(dir, true)).toMatch(/is a folder/);
    expect(await refused(join(dir, "none", "out.onnx"))).toMatch(/does not exist/);
    await quantize(toyPath, { ...cheap, output, force: true });
    expect(findLayers((await openModel(output)).graph).skipped.length).toBeGreaterThan(0);
  });
});
