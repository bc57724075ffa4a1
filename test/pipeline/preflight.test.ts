/** What a run needs: operations counted by hand, disks that are too small, and when it is told. */
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createArrayStore } from "../../src/calibrate/index.ts";
import { needsText } from "../../src/cli/needs-text.ts";
import { isBitloomError } from "../../src/core/errors.ts";
import type { Event, Notice } from "../../src/core/events.ts";
import { parseFormat } from "../../src/core/format.ts";
import { encodeModel } from "../../src/onnx/index.ts";
import { type DiskDemand, judgeDisk, volumeOf } from "../../src/pipeline/disk.ts";
import { createJournal } from "../../src/pipeline/journal.ts";
import { estimateNeeds, type LayerWork, type RunFacts, rates } from "../../src/pipeline/needs.ts";
import type { QuantizePipelineOptions } from "../../src/pipeline/options.ts";
import { preflight } from "../../src/pipeline/preflight.ts";
import { type Opened, prepareRun } from "../../src/pipeline/run.ts";
import { quantize } from "../../src/pipeline.ts";
import { createRuntime } from "../../src/runtime/index.ts";
import { run, scratch, tinyLm } from "../support/command.ts";
import { toyPerceptron, toyTransformer } from "../support/toy-models.ts";

const layer = (id: string, change: Partial<LayerWork> = {}): LayerWork => ({
  id,
  n: 6,
  k: 4,
  groups: 1,
  activation: `input of ${id}`,
  rowsPerSample: 5,
  block: id,
  formats: 3,
  widths: 2,
  ...change,
});

const facts = (change: Partial<RunFacts> = {}): RunFacts => ({
  layers: [layer("a"), layer("b", { n: 8 }), layer("c", { k: 10 })],
  samples: { calibrate: 7, search: 3, gate: 2, growth: 0, evaluate: 4 },
  scorer: { passes: "widths", quantizes: true, judges: true },
  calibrates: true,
  holdsHessians: true,
  factors: true,
  secondsPerWeight: 0,
  correction: "none",
  comparesOneShot: true,
  gateModels: 4,
  workers: 1,
  memoryLimitBytes: 1000,
  modelBytes: 400,
  logitsBytes: 0,
  logitsPerSample: 0,
  keptPerSample: 0,
  disk: { checkpointBytes: 100, outputBytes: 50, inputBytes: 0 },
  ...change,
});

/** Operations of a pass over samples, one multiplication and one addition at a time. */
function countPass(layers: readonly LayerWork[], samples: number): number {
  let count = 0;
  for (const { n, k, rowsPerSample = 0 } of layers)
    for (let t = 0; t < samples * rowsPerSample; t++)
      for (let i = 0; i < n; i++) for (let j = 0; j < k; j++) count += 2;
  return count;
}

function countGram(layers: readonly LayerWork[], samples: number): number {
  let count = 0;
  for (const { k, groups, rowsPerSample = 0 } of layers)
    for (let g = 0; g < groups; g++)
      for (let t = 0; t < samples * rowsPerSample; t++)
        for (let i = 0; i < k; i++) for (let j = 0; j < k; j++) count += 2;
  return count;
}

describe("time", () => {
  test("calibration: a pass, and a Hessian for each activation, not for each layer", () => {
    const layers = [layer("a"), layer("b", { activation: "input of a" }), layer("c", { k: 10 })];
    const { seconds } = estimateNeeds(facts({ layers }));
    const expected =
      countPass(layers, 7) / rates.forward + countGram([layers[0], layers[2]], 7) / rates.gram;
    expect(seconds?.calibrate).toBeCloseTo(expected, 15);
    const none = estimateNeeds(facts({ layers, holdsHessians: false })).seconds;
    expect(none?.calibrate).toBeCloseTo(countPass(layers, 7) / rates.forward, 15);
    expect(estimateNeeds(facts({ calibrates: false })).seconds).not.toHaveProperty("calibrate");
  });

  test("measured scores: a prefix per block, a suffix per width and layer", () => {
    const layers = [
      layer("a", { block: "1" }),
      layer("b", { block: "1", n: 9 }),
      layer("c", { block: "2", widths: 3 }),
      layer("d", { block: "d", n: 20, widths: 1 }),
    ];
    let operations = countPass(layers, 3);
    const blocks = [layers.slice(0, 2), layers.slice(2, 3), layers.slice(3)];
    blocks.forEach((block, b) => {
      operations += countPass(blocks.slice(0, b).flat(), 3);
      for (const { widths } of block)
        for (let w = 0; w < widths; w++) operations += countPass(blocks.slice(b).flat(), 3);
    });
    const scorer = { passes: "widths", quantizes: false, judges: false } as const;
    const { seconds } = estimateNeeds(facts({ layers, scorer }));
    expect(seconds?.score).toBeCloseTo(operations / rates.forward, 15);
    const four = estimateNeeds(facts({ layers, scorer: { ...scorer, passes: 4 } })).seconds;
    expect(four?.score).toBeGreaterThan(seconds?.score ?? 0);
    const free = estimateNeeds(facts({ layers, scorer: { ...scorer, passes: 0 } })).seconds;
    expect(free?.score).toBe(0);
  });

  test("propagation: two streams, four products with T; rounding N·K² and a factor K³/3 each", () => {
    const bare = facts({ samples: { calibrate: 7, search: 0, gate: 0, growth: 0, evaluate: 0 } });
    const { layers } = bare;
    const streams =
      (2 * countPass(layers, 7)) / rates.forward + (2 * countGram(layers, 7)) / rates.gram;
    const algebra = layers.reduce((sum, { n, k }) => sum + k ** 3 / 3 + n * k * k, 0);
    expect(estimateNeeds(bare).seconds?.propagate).toBeCloseTo(
      streams + algebra / rates.algebra,
      15,
    );
    const rtn = estimateNeeds({ ...bare, factors: false, secondsPerWeight: 1 }).seconds;
    expect(rtn?.propagate).toBeCloseTo(6 * 4 + 8 * 4 + 6 * 10 + streams, 12);
    // The growth of the error takes two streams more, for each of the models that are compared.
    const samples = { ...bare.samples, growth: 2 };
    const growth = (facts: Partial<RunFacts>) =>
      estimateNeeds({ ...bare, samples, ...facts }).seconds?.growth;
    expect(growth({})).toBeCloseTo((4 * countPass(layers, 2)) / rates.forward, 15);
    expect(growth({ comparesOneShot: false })).toBeCloseTo(
      (2 * countPass(layers, 2)) / rates.forward,
      15,
    );
    const auto = estimateNeeds({ ...bare, correction: "chosen" }).seconds;
    const fixed = estimateNeeds({ ...bare, correction: "fixed" }).seconds;
    expect(auto?.propagate).toBeGreaterThan(fixed?.propagate ?? 0);
    expect(estimateNeeds({ ...bare, correction: undefined }).seconds).not.toHaveProperty(
      "propagate",
    );
  });

  test("grows with data and layers, falls with workers; is not known where rows are not", () => {
    const total = (change: Partial<RunFacts>) =>
      Object.values(estimateNeeds(facts(change)).seconds ?? {}).reduce((a, b) => a + b, 0);
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 50 }), fc.integer({ min: 1, max: 50 }), (a, b) => {
        const samples = { calibrate: a, search: a, gate: a, growth: a, evaluate: a };
        const more = {
          calibrate: a + b,
          search: a + b,
          gate: a + b,
          growth: a + b,
          evaluate: a + b,
        };
        expect(total({ samples: more })).toBeGreaterThan(total({ samples }));
        expect(total({ workers: b + 1 })).toBeLessThanOrEqual(total({ workers: b }));
      }),
    );
    const layers = [layer("a"), layer("b", { rowsPerSample: undefined })];
    expect(estimateNeeds(facts({ layers })).seconds).toBeNull();
  });
});

describe("memory, disk and rows", () => {
  const memory = (change: Partial<RunFacts>) => estimateNeeds(facts(change)).memoryBytes;

  test("memory: the limit for weights, for values and for arrays, the largest layer, logits for each worker", () => {
    const base = memory({});
    const small = memory({ memoryLimitBytes: 0 });
    expect(base - small).toBeGreaterThan(0);
    expect(base - small).toBeLessThanOrEqual(3 * 1000);
    const wide = facts().layers.map((one) => (one.id === "b" ? { ...one, n: 1_000_008 } : one));
    // Six float32 copies; the codes of four plans beyond the limit go to disk.
    expect(memory({ layers: wide }) - base).toBeCloseTo(6 * 4 * 4e6, -4);
    expect(estimateNeeds(facts({ layers: wide })).disk.temporaryBytes).toBeCloseTo(4 * 4e6, -4);
    // Large parts of a model are opened through files: all of it where scores are measured, else its largest layer.
    const large = { modelBytes: 2e9, workers: 2, memoryLimitBytes: 1e8 };
    const temporary = (change: Partial<RunFacts>) =>
      estimateNeeds(facts({ ...large, ...change })).disk.temporaryBytes;
    const huge = facts().layers.map((one) => (one.id === "b" ? { ...one, n: 25e6, k: 4 } : one));
    const scorer = { passes: 0, quantizes: false, judges: false } as const;
    expect(temporary({ scorer, layers: huge, gateModels: 0 })).toBe(2 * 4e8);
    expect(temporary({ scorer: { ...scorer, passes: "widths" }, gateModels: 0 })).toBe(2 * 2e9);
    expect(memory({ logitsBytes: 1000, workers: 1 }) - base).toBe(6000);
    // Of values half the limit is kept in memory, the rest on disk.
    const roomy = { memoryLimitBytes: 1e6 };
    expect(memory({ ...roomy, keptPerSample: 1e9 }) - memory(roomy)).toBe(5e5);
    const spilled = estimateNeeds(facts({ ...roomy, keptPerSample: 1e9 }));
    expect(spilled.disk.temporaryBytes).toBe(7e9 - 5e5);
    expect(estimateNeeds(facts({ ...roomy, keptPerSample: 10 })).disk).toEqual({
      temporaryBytes: 0,
      checkpointBytes: 100,
      outputBytes: 50,
    });
  });

  test("memory: Hessians of all layers only where they are held", () => {
    const layers = Array.from({ length: 10 }, (_, i) => layer(`${i}`, { n: 1, k: 1000 }));
    const held = (memoryLimitBytes: number) =>
      memory({ layers, memoryLimitBytes }) -
      memory({ layers, memoryLimitBytes, holdsHessians: false });
    expect(held(1e9)).toBe(10 * 8 * 1e6);
    expect(held(40_000)).toBe(0);
  });

  test("rows: the layer with the fewest per input; tables and unknown ones do not count", () => {
    const layers = [
      layer("table", { activation: undefined, rowsPerSample: 0, k: 1000 }),
      layer("unknown", { rowsPerSample: undefined, k: 1000 }),
      layer("narrow"),
      layer("wide", { k: 100, rowsPerSample: 50 }),
    ];
    expect(estimateNeeds(facts({ layers })).rows).toEqual({ layer: "wide", rows: 350, k: 100 });
    expect(estimateNeeds(facts({ layers: layers.slice(0, 2) })).rows).toBeNull();
  });
});

describe("disks", () => {
  const demand = (what: string, folder: string, sure: number, likely: number): DiskDemand => ({
    what,
    folder,
    sureBytes: sure,
    likelyBytes: likely,
  });
  const disks = (free: Record<string, number>) => async (folder: string) =>
    folder in free
      ? { device: Object.keys(free).indexOf(folder), freeBytes: free[folder] }
      : undefined;

  test("what surely fails is refused, what may fail is said, the rest is silent", async () => {
    const demands = [
      demand("temporary files", "/tmp", 0, 5e9),
      demand("the checkpoint", "/out", 2e9, 3e9),
      demand("the output", "/out", 1e9, 2e9),
    ];
    expect(await judgeDisk(demands, disks({ "/tmp": 5e9, "/out": 5e9 }))).toBeUndefined();
    const little = await judgeDisk(demands, disks({ "/tmp": 4e9, "/out": 5e9 }));
    expect(little).toMatchObject({ code: "little-disk" });
    expect(little?.message).toMatch(/"\/tmp" may be too small: temporary files take about 5/);
    const both = await judgeDisk(demands, disks({ "/tmp": 9e9, "/out": 4e9 }));
    expect(both?.message).toMatch(/"\/out".*the checkpoint and the output take about 5\.00 GB/);
    const error = await judgeDisk(demands, disks({ "/tmp": 1, "/out": 2.5e9 })).catch((e) => e);
    expect(isBitloomError(error, "output")).toBe(true);
    expect(error.message).toMatch(
      /"\/out" has no room for the checkpoint and the output: expected at least 3\.00 GB free, got 2\.50 GB/,
    );
    // A system that does not say is not judged.
    expect(await judgeDisk(demands, async () => undefined)).toBeUndefined();
  });

  test("folders of one disk share its room", async () => {
    const demands = [demand("a", "/x", 6, 6), demand("b", "/y", 6, 6)];
    const error = await judgeDisk(demands, async () => ({ device: 1, freeBytes: 10 })).catch(
      (e) => e,
    );
    expect(isBitloomError(error, "output")).toBe(true);
  });

  test("a folder has a disk, a missing one has none", async () => {
    const found = await volumeOf(tmpdir());
    expect(found?.freeBytes).toBeGreaterThan(0);
    expect((await volumeOf("."))?.device).toEqual(expect.any(Number));
    expect(await volumeOf(join(tmpdir(), "no such folder"))).toBeUndefined();
  });
});

describe("in a run", () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "bitloom-test-"));
    await writeFile(join(folder, "lm.onnx"), await encodeModel(toyTransformer()));
    await writeFile(join(folder, "mlp.onnx"), await encodeModel(toyPerceptron()));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  const common = {
    budget: "5bpw",
    formats: ["int4-b16", "int8-b16"].map(parseFormat),
    scorer: "output-error",
    rows: 4,
    evaluateRows: 4,
    window: 8,
  } as const;

  test("needs come once, before the work, and are in the report", async () => {
    const events: Event[] = [];
    const output = join(folder, "told.onnx");
    const { report } = await quantize(join(folder, "lm.onnx"), {
      ...common,
      output,
      onEvent: (event) => events.push(event),
    });
    const told = events.filter(({ type }) => type === "needs");
    expect(told).toEqual([{ type: "needs", needs: report.preflight }]);
    const calibrates = events.findIndex(
      (event) => event.type === "stage" && event.stage === "calibrate",
    );
    expect(events.indexOf(told[0])).toBeLessThan(calibrates);
    // 4 windows of 8 tokens; "down" reads 32 features, the others 16.
    expect(report.preflight?.rows).toEqual({ layer: "down0", rows: 32, k: 32 });
    const stages = Object.keys(report.preflight?.seconds ?? {});
    expect(Object.keys(report.timings)).toEqual(expect.arrayContaining(stages));
    expect(stages).toEqual([
      "calibrate",
      "score",
      "gate",
      "propagate",
      "growth",
      "evaluate",
      "save",
    ]);
    const { disk } = report.preflight ?? {};
    expect(report.output.bytes).toBeLessThan(2 * (disk?.outputBytes ?? 0));
    // One notice of thin layers, before anything is measured.
    const thin = events.flatMap((event, at) =>
      event.type === "notice" && event.notice.code === "few-rows" ? [at] : [],
    );
    expect(thin.length).toBe(1);
    expect(thin[0]).toBeLessThan(calibrates);
    expect(report.notices.find(({ code }) => code === "few-rows")?.message).toMatch(
      /^2 layers will see fewer than 2 rows per input feature \(K up to 32\)/,
    );
  });

  test("with rtn only the correction needs Hessians; without one nobody does", async () => {
    const noticed = async (options: Partial<QuantizePipelineOptions>) => {
      const output = join(folder, `noticed-${JSON.stringify(options).length}.onnx`);
      const given = { ...common, scorer: "weight-error", quantizer: "rtn", output } as const;
      const { report } = await quantize(join(folder, "lm.onnx"), { ...given, ...options });
      return report.notices.filter(({ code }) => code === "few-rows").length;
    };
    expect(await noticed({})).toBe(1);
    expect(await noticed({ correction: "none" })).toBe(0);
    expect(await noticed({ sequential: false })).toBe(0);
  });

  test("rows of other models are counted on one batch", async () => {
    const output = join(folder, "counted.onnx");
    const { report } = await quantize(join(folder, "mlp.onnx"), { ...common, output });
    expect(report.preflight?.rows).toMatchObject({ layer: "second", k: 32 });
    expect(report.preflight?.rows?.rows).toBeGreaterThan(0);
    expect(report.preflight?.seconds).not.toBeNull();
    expect(report.notices.filter(({ code }) => code === "few-rows").length).toBe(1);
  });

  /** Notices and events of a preflight whose search data is said to be larger than it is. */
  async function flight(searchSamples: number, change: Partial<QuantizePipelineOptions>) {
    const { scorer: _, ...rest } = common;
    const options = { ...rest, output: join(folder, "never.onnx"), ...change };
    const notices: Notice[] = [];
    const journal = createJournal({
      onEvent: (event) => event.type === "notice" && notices.push(event.notice),
    });
    const runtime = createRuntime();
    const stop = new Error("enough");
    const beforeWork = async (opened: Opened) => {
      const search = { ...opened.data.search, samples: searchSamples };
      const data = { ...opened.data, search };
      await preflight({ ...opened, data }, { options, journal, runtime });
      throw stop;
    };
    const arrays = createArrayStore(2 ** 29);
    const context = { journal, runtime, arrays, needsScores: true, beforeWork };
    const error = await prepareRun(join(folder, "lm.onnx"), options, context).catch((e) => e);
    await runtime.close();
    return { error, stop, codes: notices.map(({ code }) => code), notices };
  }

  test("slow measured scores are announced with the faster choices, unless they were asked for", async () => {
    const slow = await flight(1e10, {});
    expect(slow.error).toBe(slow.stop);
    const [notice] = slow.notices.filter(({ code }) => code === "slow-scorer");
    expect(notice.message).toMatch(/measured-kl.*about .* h.*--scorer hessian-trace/);
    expect((await flight(1e10, { scorer: "measured-kl" })).codes).not.toContain("slow-scorer");
    expect((await flight(1, {})).codes).not.toContain("slow-scorer");
    expect(await readdir(folder)).not.toContain("never.onnx");
  });
});

describe("the command", () => {
  const args = (at: (name: string) => string) => [
    ...[join(tinyLm, "model.onnx"), "-o", at("out.onnx"), "-b", "5bpw", "-s", "weight-error"],
    ...["-c", join(tinyLm, "calibration.txt"), "--rows", "4", "--evaluate-rows", "2"],
    ...["-q", "rtn", "--one-shot", "-f", "int4-b32,int8-b32", "--json"],
  ];
  const line = /^needs about .* of memory, .* of disk and under 10 s; at least .* for 384 inputs$/m;

  test("says it in one line, and nothing with --quiet", async () => {
    const folder = scratch();
    try {
      const told = await run(args(folder.at));
      expect(told.code, told.stderr).toBe(0);
      expect(told.stderr).toMatch(line);
      expect(JSON.parse(told.stdout).preflight.memoryBytes).toBeGreaterThan(1e8);
      const quiet = await run([...args(folder.at), "--quiet", "--force"]);
      expect({ code: quiet.code, stderr: quiet.stderr }).toEqual({ code: 0, stderr: "" });
    } finally {
      folder.remove();
    }
  });

  test("has no more digits than a guess deserves", () => {
    const text = (total: number) =>
      needsText({
        memoryBytes: 1.234e9,
        disk: { temporaryBytes: 2e9, checkpointBytes: 1e9, outputBytes: 5e8 },
        seconds: { score: total / 2, gate: total / 2 },
        rows: null,
      });
    expect(text(3)).toBe(
      "needs about 1.23 GB of memory, 3.50 GB of disk (2.00 GB of it temporary) and under 10 s",
    );
    expect(text(44)).toMatch(/and 40 s$/);
    expect(text(44 * 60)).toMatch(/and 44 min$/);
    expect(text(3.44 * 3600)).toMatch(/and 3\.4 h$/);
    expect(text(34.4 * 3600)).toMatch(/and 34 h$/);
  });
});
