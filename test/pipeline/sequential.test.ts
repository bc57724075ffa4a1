/** The sequential stage inside whole runs, on models and data at the edges of what it is made for. */
import { writeFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { parseFormat } from "../../src/core/format.ts";
import { attribute, type Model, openModel } from "../../src/onnx/index.ts";
import type { QuantizePipelineOptions } from "../../src/pipeline/options.ts";
import { quantize } from "../../src/pipeline.ts";
import { weightInBranch } from "../cli/models.ts";
import { graph } from "../support/graph-builder.ts";
import { normalSamples, type Samples, type Workbench, workbench } from "../support/pipeline-run.ts";
import { floatFeed, normals, toyPerceptron, toyTransformer } from "../support/toy-models.ts";

let bench: Workbench;
beforeEach(() => {
  bench = workbench();
});
afterEach(() => bench.remove());

const width = 16;
const samples = normalSamples(8, [40, width]);
const corrections = ["auto", "qep", "gptaq", "qronos", "none"] as const;

/** Relative error of the written model's output on a sample, which must be finite. */
async function errorOn(sample: Samples[number], name = "out.onnx"): Promise<number> {
  const [before, after] = await bench.outputs(["model.onnx", name], sample);
  expect(after.every(Number.isFinite)).toBe(true);
  const power = before.reduce((sum, value) => sum + value * value, 0);
  return before.reduce((sum, value, i) => sum + (value - after[i]) ** 2, 0) / power;
}

/** x → first [16, 32] → Relu → second [32, 8] → y, with weights that a test makes of normal ones. */
function perceptron(
  change: { first?: (w: Float32Array) => void; second?: (w: Float32Array) => void } = {},
): Model {
  const [w1, w2] = [normals(width * 32, 1, 0.25), normals(32 * 8, 2, 0.25)];
  change.first?.(w1);
  change.second?.(w2);
  return graph()
    .input("x", "float32", ["rows", width])
    .output("y", "float32", ["rows", 8])
    .initializer("w1", [width, 32], w1)
    .initializer("w2", [32, 8], w2)
    .node("MatMul", ["x", "w1"], ["a"], {}, "first")
    .node("Relu", ["a"], ["b"])
    .node("MatMul", ["b", "w2"], ["y"], {}, "second")
    .model();
}

/** Sets a column of a stored weight [K, N] to 0. */
function clearColumn(weight: Float32Array, columns: number, column: number): void {
  for (let i = column; i < weight.length; i += columns) weight[i] = 0;
}

/** A run, and what its sequential stage did. */
const propagated = async (...args: Parameters<Workbench["run"]>) => {
  const { report } = await bench.run(...args);
  const { propagation } = report;
  if (!propagation) throw new Error("expected a sequential run");
  const isCompared = report.notices.every(({ code }) => code !== "planned-with-rtn");
  expect(propagation.loss !== null).toBe(isCompared);
  if (propagation.loss) expect(propagation.loss.sequential).toSatisfy(Number.isFinite);
  return { report, propagation };
};

describe("weights and activations that carry nothing", () => {
  test.each(corrections)("a zero row of a weight stays zero: %s", async (correction) => {
    // Column 3 of the stored [K, N] is a row of W.
    const model = perceptron({
      first: (w) => clearColumn(w, 32, 3),
      second: (w) => clearColumn(w, 8, 3),
    });
    const { propagation } = await propagated(model, samples, { correction });
    expect(propagation.layers.map(({ layer }) => layer)).toEqual(["first", "second"]);
    const [before, after] = await bench.outputs(["model.onnx", "out.onnx"], samples[7]);
    const third = (_: number, i: number) => i % 8 === 3;
    expect(before.filter(third).every((value) => value === 0)).toBe(true);
    expect(after.filter(third).every((value) => value === 0)).toBe(true);
    expect(await errorOn(samples[7])).toBeLessThan(0.05);
  });

  test.each(corrections)("a weight of zeros: %s", async (correction) => {
    await propagated(perceptron({ second: (w) => void w.fill(0) }), samples, { correction });
    const [after] = await bench.outputs(["out.onnx"], samples[0]);
    expect(after.every((value) => value === 0)).toBe(true);
  });

  test.each(corrections)("an input that is always 0: %s", async (correction) => {
    // The first layer's fifth input, and by its weights the second one's third.
    const dead = normalSamples(8, [40, width], (x) => x.map((v, i) => (i % width === 5 ? 0 : v)));
    const model = perceptron({ first: (w) => clearColumn(w, 32, 3) });
    const { report } = await propagated(model, dead, { correction });
    const notices = report.notices.filter(({ code }) => code === "dead-columns");
    expect(new Set(notices.map(({ layer }) => layer))).toEqual(new Set(["first", "second"]));
    expect(await errorOn(dead[7])).toBeLessThan(0.05);
    // What never was there in calibration is not thrown away either.
    expect(await errorOn(samples[7])).toBeLessThan(0.1);
  });

  test("activations that are all 0: weights are rounded by themselves", async () => {
    const zeros = normalSamples(8, [40, width], (x) => x.fill(0));
    await propagated(perceptron(), zeros);
    expect(await errorOn(samples[0])).toBeLessThan(0.05);
  });
});

describe("Hessians without full rank", () => {
  test.each(corrections)("fewer rows than inputs: %s", async (correction) => {
    const thin = normalSamples(12, [1, width]);
    const { report } = await propagated(perceptron(), thin, { correction, rows: 4 });
    expect(report.notices.map(({ code }) => code)).toContain("few-rows");
    expect(await errorOn(samples[0])).toBeLessThan(0.3);
  });

  test.each(corrections)("inputs that are the same: %s", async (correction) => {
    const twice = (x: Float32Array) => x.map((_, i) => x[i - (i % 2)]);
    const doubled = normalSamples(8, [40, width], twice);
    await propagated(perceptron(), doubled, { correction });
    expect(await errorOn(doubled[7])).toBeLessThan(0.02);
  });

  test("inputs that are the same, without damping: raised, with a notice", async () => {
    const doubled = normalSamples(8, [40, width], (x) => x.map((_, i) => x[i - (i % 2)]));
    const { report } = await propagated(perceptron(), doubled, { damping: 0, correction: "none" });
    expect(report.notices.map(({ code }) => code)).toContain("damping-raised");
    expect(await errorOn(doubled[7])).toBeLessThan(0.02);
  });
});

describe("few samples", () => {
  test.each([
    [1, "no-correction"],
    [2, "no-correction"],
    [3, undefined],
  ] as const)("%i to calibrate with: notice %s", async (rows, notice) => {
    const { report, propagation } = await propagated(perceptron(), samples, {
      rows,
      evaluateRows: 2,
    });
    const codes = report.notices.map(({ code }) => code);
    if (notice) expect(codes).toContain(notice);
    else expect(codes).not.toContain("no-correction");
    expect(propagation.correction).toBe(notice ? "none" : "auto");
    expect(await errorOn(samples[7])).toBeLessThan(0.05);
  });

  test("too few for the splits: refused, nothing is written", async () => {
    const { code, message } = await bench.failure(perceptron(), samples.slice(0, 2));
    expect(code).toBe("bad-data");
    expect(message).toMatch(/expected at least 4 samples, got 2/);
    expect(bench.files()).toEqual(["data.jsonl", "model.onnx"]);
  });
});

describe("shapes of models", () => {
  test("one layer", async () => {
    const model = graph()
      .input("x", "float32", ["rows", width])
      .output("y", "float32", ["rows", 8])
      .initializer("w", [width, 8], normals(width * 8, 1, 0.25))
      .node("MatMul", ["x", "w"], ["y"], {}, "only")
      .model();
    const { propagation } = await propagated(model, samples);
    expect(propagation.layers).toEqual([
      { layer: "only", relativeDrift: 0, alpha: 0, damping: 0, gain: null },
    ]);
    expect(propagation.loss?.sequential).toBe(propagation.loss?.oneShot);
    expect(await errorOn(samples[7])).toBeLessThan(0.02);
  });

  test.each(corrections)("a weight used twice in a row: %s", async (correction) => {
    const model = graph()
      .input("x", "float32", ["rows", width])
      .output("y", "float32", ["rows", width])
      .initializer("w", [width, width], normals(width * width, 1, 0.25))
      .node("MatMul", ["x", "w"], ["a"], {}, "once")
      .node("Relu", ["a"], ["b"])
      .node("MatMul", ["b", "w"], ["y"], {}, "again")
      .model();
    const { report, propagation } = await propagated(model, samples, { correction });
    expect(report.layers).toHaveLength(1);
    expect(propagation.layers).toMatchObject([{ layer: "once" }]);
    expect(report.skipped).toEqual([]);
    const written = await openModel(bench.at("out.onnx"));
    // Both uses are replaced: the float weight is gone.
    expect(written.graph.initializers.has("w")).toBe(false);
    expect(await errorOn(samples[7])).toBeLessThan(0.05);
  });

  test.each(corrections)("a tied head: %s", async (correction) => {
    const options = { calibration: undefined, window: 8, rows: 8, evaluateRows: 4, correction };
    const { report, propagation } = await propagated(toyTransformer({ tied: true }), [], options);
    expect(propagation.layers).toHaveLength(13);
    const [tied] = report.layers.filter(({ opType }) => opType === "Gather+MatMul");
    // Its second input comes behind all other layers, so it cannot be measured before it is rounded.
    expect(propagation.layers.find(({ layer }) => layer === tied.name)).toMatchObject({
      relativeDrift: null,
      alpha: 0,
    });
  });

  test("a weight inside a subgraph is left, the other is quantized", async () => {
    writeFileSync(bench.at("branch.onnx"), weightInBranch());
    const { report } = await quantize(bench.at("branch.onnx"), {
      output: bench.at("out.onnx"),
      budget: "9bpw",
      scorer: "weight-error",
      formats: ["int8-b32"].map(parseFormat),
    });
    expect(report.propagation?.layers.map(({ layer }) => layer)).toEqual(["h/MatMul"]);
    expect(report.skipped).toMatchObject([{ name: "choose" }, { name: "z/MatMul" }]);
    const one = { ...floatFeed([1], [1]), dtype: "bool", data: Uint8Array.of(1) } as const;
    const feeds = { x: floatFeed(normals(64, 1), [2, 32]), choice: one };
    const [before, after] = await bench.outputs(["branch.onnx", "out.onnx"], feeds);
    for (const [i, value] of before.entries()) expect(after[i] / 100).toBeCloseTo(value / 100, 1);
  });

  test("layers whose output nobody reads, and layers that no row reaches", async () => {
    const model = graph()
      .input("x", "float32", ["rows", width])
      .output("y", "float32", ["rows", 8])
      .initializer("w", [width, 8], normals(width * 8, 1, 0.25))
      .initializer("unread.w", [width, 8], normals(width * 8, 2, 0.25))
      .initializer("empty.w", [width, 8], normals(width * 8, 3, 0.25))
      .initializer("none", [1], BigInt64Array.of(0n))
      .initializer("axis", [1], BigInt64Array.of(0n))
      .node("Slice", ["x", "none", "none", "axis"], ["nothing"])
      .node("MatMul", ["nothing", "empty.w"], ["e"], {}, "empty")
      .initializer("sum.axes", [1], BigInt64Array.of(0n))
      .node("ReduceSum", ["e", "sum.axes"], ["zero"])
      .node("MatMul", ["x", "unread.w"], ["u"], {}, "unread")
      .node("MatMul", ["x", "w"], ["m"], {}, "read")
      .node("Add", ["m", "zero"], ["y"])
      .model();
    const variants: readonly Partial<QuantizePipelineOptions>[] = [
      ...corrections.map((correction) => ({ correction })),
      { quantizer: "rtn" },
      { memoryLimitBytes: 1 },
    ];
    for (const options of variants) {
      const { report, propagation } = await propagated(model, samples, options);
      expect(report.layers.map(({ name }) => name).sort()).toEqual(["empty", "read", "unread"]);
      expect(propagation.layers).toHaveLength(3);
      expect(await errorOn(samples[7])).toBeLessThan(0.02);
    }
  });
});

/** x → first → Relu → only those rows whose first number is above 1 → second → mean → y [1, 8]: an expert. */
const expert = (): Model =>
  graph()
    .input("x", "float32", ["rows", width])
    .output("y", "float32", [1, 8])
    .initializer("w1", [width, 32], normals(width * 32, 1, 0.25))
    .initializer("w2", [32, 8], normals(32 * 8, 2, 0.25))
    .initializer("zero", [1], BigInt64Array.of(0n))
    .initializer("one", [1], BigInt64Array.of(1n))
    .initializer("threshold", [1], Float32Array.of(1))
    .initializer("flat", [1], BigInt64Array.of(-1n))
    .node("MatMul", ["x", "w1"], ["a"], {}, "first")
    .node("Relu", ["a"], ["b"])
    .node("Slice", ["x", "zero", "one", "one"], ["gate"])
    .node("Greater", ["gate", "threshold"], ["is"])
    .node("Reshape", ["is", "flat"], ["chosen"])
    .node("Compress", ["b", "chosen"], ["routed"], { axis: attribute.int(0) })
    .node("MatMul", ["routed", "w2"], ["e"], {}, "second")
    .node("ReduceSum", ["e", "zero"], ["y"])
    .model();

describe("experts", () => {
  /** Samples whose rows all go to the expert, or none of them. */
  const routed = (chosen: (sample: number) => boolean): Samples =>
    normalSamples(12, [40, width]).map(({ x }, sample) => {
      const data = Float32Array.from(x.data as Float32Array);
      for (let row = 0; row < 40; row++) data[row * width] = chosen(sample) ? 2 : -2;
      return { x: { ...x, data } };
    });
  // Every third batch is held out: samples 2 and 5 of the 6 that calibrate.
  test.each([
    ["no row is held out", (sample: number) => sample % 3 !== 2],
    ["all rows are held out", (sample: number) => sample % 3 === 2 || sample >= 6],
  ])("%s: rounded, not corrected, with a notice", async (_, chosen) => {
    const sizes = { rows: 6, evaluateRows: 2, scorer: "output-error" } as const;
    const { report, propagation } = await propagated(expert(), routed(chosen), sizes);
    const notices = report.notices.filter(({ code }) => code === "no-correction");
    expect(notices.map(({ layer }) => layer)).toEqual(["second"]);
    expect(propagation.layers[1]).toMatchObject({ layer: "second", alpha: 0 });
    expect(propagation.layers[1].relativeDrift).toBeGreaterThan(0);
    expect(await errorOn(routed(() => true)[0])).toBeLessThan(0.05);
  });
});

describe("what it gains", () => {
  test("nothing is compared where the Hessians of all layers exceed the memory limit", async () => {
    const { report, propagation } = await propagated(perceptron(), samples, {
      memoryLimitBytes: 1,
    });
    expect(report.notices.map(({ code }) => code)).toContain("planned-with-rtn");
    expect(propagation).toMatchObject({ loss: null, written: "sequential" });
    const ofOneShot = report.errorGrowth?.layers.map(({ oneShot }) => oneShot);
    expect(ofOneShot).toEqual([null, null]);
    expect(await errorOn(samples[7])).toBeLessThan(0.05);
  });

  test("corrected layers have a smaller error on the calibration rows, and the gate decides", async () => {
    const options: Partial<QuantizePipelineOptions> = {
      formats: ["int3-b16"].map(parseFormat),
      budget: "6bpw",
      rows: 40,
    };
    const many = normalSamples(64, [16, width]);
    const { report, propagation } = await propagated(toyPerceptron(), many, options);
    const second = propagation.layers.find(({ layer }) => layer === "second");
    expect(second?.relativeDrift).toBeGreaterThan(0);
    if (second?.alpha === 0) expect(second.gain).toBeNull();
    else expect(second?.gain).toBeGreaterThan(0);
    expect(second?.gain ?? 0).toBeLessThan(second?.relativeDrift ?? 0);
    if (!propagation.loss) throw new Error("expected layers rounded one by one, to compare with");
    const { sequential, oneShot } = propagation.loss;
    expect(propagation.written).toBe(sequential <= oneShot ? "sequential" : "one-shot");
    expect(report.timings.propagate).toBeGreaterThanOrEqual(0);
  });
});
