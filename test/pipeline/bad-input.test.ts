/** Numbers and disks that fail in the middle of a run: a clear error that names the layer, nothing half-written. */
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Event } from "../../src/core/events.ts";
import { parseFormat } from "../../src/core/format.ts";
import type { Model } from "../../src/onnx/index.ts";
import type { QuantizePipelineOptions } from "../../src/pipeline/options.ts";
import { programPath } from "../support/build.ts";
import { run } from "../support/command.ts";
import { graph } from "../support/graph-builder.ts";
import { normalSamples, type Workbench, workbench } from "../support/pipeline-run.ts";
import { saveSmallDecoder, smallData, smallLayers } from "../support/small-decoder.ts";
import { floatFeed, normals, toyPerceptron, withWeight } from "../support/toy-models.ts";

let bench: Workbench;
beforeEach(() => {
  bench = workbench();
});
afterEach(() => bench.remove());

const width = 16;
/** Each K sees enough rows. */
const samples = normalSamples(8, [40, width]);
const untouched = ["data.jsonl", "model.onnx"];

/** x → first → some operators → second → y. */
function between(add: (builder: ReturnType<typeof graph>) => void, scale = 1): Model {
  const builder = graph()
    .input("x", "float32", ["rows", width])
    .output("y", "float32", ["rows", 8])
    .initializer("w1", [width, 32], normals(width * 32, 1, scale / 4))
    .initializer("w2", [32, 8], normals(32 * 8, 2, 0.25))
    .node("MatMul", ["x", "w1"], ["a"], {}, "first");
  add(builder);
  return builder.node("MatMul", ["b", "w2"], ["y"], {}, "second").model();
}

const twoLayers = () => between((builder) => builder.node("Relu", ["a"], ["b"]));

const methods: readonly Partial<QuantizePipelineOptions>[] = [
  { quantizer: "gptq" },
  { quantizer: "gptq", scorer: "measured-kl" },
  { quantizer: "gptq", memoryLimitBytes: 1 },
  { quantizer: "rtn" },
  { quantizer: "rtn", correction: "none" },
];

describe("activations that are not finite", () => {
  const overflowing = () =>
    between((builder) =>
      builder
        .initializer("huge", [], Float32Array.of(3e38))
        .node("Mul", ["a", "huge"], ["large"])
        .node("Mul", ["large", "huge"], ["b"]),
    );

  test.each(methods)("in the float model: %j names the layer", async (options) => {
    const { code, message } = await bench.failure(overflowing(), samples, options);
    expect(code).toBe("numeric");
    expect(message).toMatch(/layer "second"/);
    expect(bench.files().filter((name) => !name.endsWith(".checkpoint"))).toEqual(untouched);
  });

  test("in the data: refused before the work, or named", async () => {
    const infinite = normalSamples(8, [40, width], (values) => values.fill(3e38, 0, 4));
    const { code, message } = await bench.failure(twoLayers(), infinite, {});
    expect(code).toBe("numeric");
    expect(message).toMatch(/layer "first"/);
    expect(bench.files()).toEqual(untouched);
  });

  // Squares of exp(a) fit float32 up to a = 44. All rows are one row, so that a is known.
  const edge = () => {
    const row = normals(width, 5);
    const w1 = normals(width * 32, 1, 0.25);
    // Each column of w1 is scaled so that x · w1 = 42.
    const scaled = Float32Array.from(w1, (w, i) => {
      let product = 0;
      for (let k = 0; k < width; k++) product += row[k] * w1[k * 32 + (i % 32)];
      return (42 * w) / product;
    });
    const model = withWeight(
      between((builder) => builder.node("Exp", ["a"], ["b"])),
      "w1",
      floatFeed(scaled, [width, 32]),
    );
    const rows = Float32Array.from({ length: 40 * width }, (_, i) => row[i % width]);
    return { model, data: normalSamples(8, [40, width], () => rows) };
  };

  test.each([
    ["gptq", "auto"],
    ["rtn", "none"],
    ["hqq", "qep"],
  ] as const)("only once earlier layers are rounded: %s, %s", async (quantizer, correction) => {
    const { model, data } = edge();
    const formats = ["int2-b16"].map(parseFormat);
    const options = { quantizer, correction, formats, budget: "8bpw" } as const;
    const work = await bench.run(model, data, options).then(
      () => undefined,
      (error) => error,
    );
    if (work === undefined) {
      // It was lucky with its rounding: then what was written is finite.
      const [before, after] = await bench.outputs(["model.onnx", "out.onnx"], data[0]);
      expect([...before, ...after].every(Number.isFinite)).toBe(true);
      return;
    }
    expect(work.code).toBe("numeric");
    expect(bench.files()).not.toContain("out.onnx");
  });

  test("only once earlier layers are rounded: the message says so and how to go on", async () => {
    const { model, data: atEdge } = edge();
    // The first samples calibrate; those of the gate are far from the edge.
    const data = [...atEdge, ...normalSamples(8, [40, width], (x) => x.map((v) => v / 50))];
    const formats = ["int2-b16"].map(parseFormat);
    const options = {
      quantizer: "rtn",
      formats,
      budget: "8bpw",
      rows: 8,
      evaluateRows: 4,
    } as const;
    const { message } = await bench.failure(model, data, options);
    expect(message).toMatch(
      /activations of layer "second" are not finite .* once the layers before it are rounded/,
    );
    // More bits, as the message proposes.
    const { report } = await bench.run(model, data, {
      ...options,
      output: bench.at("finer.onnx"),
      formats: ["int8-b16"].map(parseFormat),
      budget: "10bpw",
    });
    expect(report.quality.kind).toBe("outputs");
  });
});

describe("weights that are not finite", () => {
  const broken = (value: number) => {
    const data = normals(32 * 8, 2, 0.25);
    data[77] = value;
    return withWeight(twoLayers(), "w2", floatFeed(data, [32, 8]));
  };
  test.each(
    [Number.NaN, Number.POSITIVE_INFINITY].flatMap((value) =>
      [...methods, { quantizer: "hqq" }, { quantizer: "rtn", sequential: false } as const].map(
        (options) => [value, options] as const,
      ),
    ),
  )("%d with %j: the layer is named, nothing is written", async (value, options) => {
    const { code, message } = await bench.failure(
      broken(value),
      samples,
      options as Partial<QuantizePipelineOptions>,
    );
    expect(code).toBe("numeric");
    expect(message).toMatch(/"second"/);
    expect(bench.files()).toEqual(untouched);
  });
});

describe("a disk that fails in the middle", () => {
  const formats = ["int4-b16"].map(parseFormat);
  const options = { formats, budget: "6bpw" } as const;
  const bytes = async () => await readFile(bench.at("out.onnx"));

  test("a checkpoint that becomes a file: finished layers are kept, a rerun gives the same bytes", async () => {
    const model = toyPerceptron();
    await bench.run(model, samples, options);
    const whole = await bytes();
    rmSync(bench.at("out.onnx"));
    const folder = bench.at("out.onnx.checkpoint");
    let broken = false;
    const onEvent = (event: Event) => {
      if (broken || event.type !== "progress" || event.stage !== "propagate") return;
      broken = true;
      renameSync(folder, bench.at("aside"));
      writeFileSync(folder, "in the way");
    };
    const { code, message } = await bench.failure(model, samples, { ...options, onEvent });
    expect({ broken, code }).toEqual({ broken: true, code: "output" });
    expect(message).toMatch(/Cannot write the checkpoint folder .*finished layers are kept/);
    expect(bench.files()).not.toContain("out.onnx");
    rmSync(folder);
    renameSync(bench.at("aside"), folder);
    expect(readdirSync(folder).filter((name) => name.endsWith(".layer"))).toHaveLength(1);
    const { report } = await bench.run(model, samples, options);
    expect(report.propagation?.resumed).toBe(1);
    expect((await bytes()).equals(whole)).toBe(true);
    expect(existsSync(folder)).toBe(false);
  });

  test("no room for activations between layers", async () => {
    const before = process.env.TMPDIR;
    process.env.TMPDIR = bench.at("missing");
    try {
      const limits = { ...options, memoryLimitBytes: 1 };
      const { code, message } = await bench.failure(toyPerceptron(), samples, limits);
      expect(code).toBe("output");
      expect(message).toMatch(/set TMPDIR/);
    } finally {
      if (before === undefined) delete process.env.TMPDIR;
      else process.env.TMPDIR = before;
    }
    expect(bench.files().filter((name) => !name.endsWith(".checkpoint"))).toEqual(untouched);
  });

  const decoder = () => bench.at("decoder.onnx");
  const lm = [
    ...smallData,
    ...["-s", "weight-error", "-f", "int4-b32,int8-b32", "-b", "5bpw", "--json"],
    ...["-q", "rtn", "--correction", "none"],
  ];
  const args = (output: string) => [decoder(), "-o", bench.at(output), ...lm];

  test("a limit on the size of files stops the output: a rerun takes all layers from the checkpoint", async () => {
    await saveSmallDecoder(decoder());
    expect((await run(args("whole.onnx"))).code).toBe(0);
    const limited = await run(args("out.onnx"), { shell: "ulimit -f 100" });
    expect(limited.code, limited.stderr).toBe(1);
    expect(JSON.parse(limited.stdout).error.message).toMatch(/Cannot write ".*out\.onnx".*EFBIG/);
    expect(bench.files()).toEqual(["decoder.onnx", "out.onnx.checkpoint", "whole.onnx"]);
    const again = await run(args("out.onnx"));
    expect(again.code, again.stderr).toBe(0);
    expect(JSON.parse(again.stdout).propagation.resumed).toBe(smallLayers);
    const [whole, resumed] = await Promise.all(
      ["whole.onnx", "out.onnx"].map((name) => readFile(bench.at(name))),
    );
    expect(resumed.equals(whole)).toBe(true);
  });

  test("a disk that fills up among the layers, and is emptied again", async (context) => {
    // In a mount namespace of its own: gone with the process, invisible to everybody else.
    const script = `
      mount -t tmpfs -o size=8m none "$0" || exit 99
      fill() {
        until [ "$(ls "$0/out.onnx.checkpoint" 2>/dev/null | grep -c layer$)" -ge 5 ]; do sleep 0.01; done
        cat /dev/zero > "$0/filler" 2>/dev/null
      }
      fill & filler=$!
      "$@" > "$0.first"; echo "first: $?, left: $(ls "$0" | tr '\\n' ' ')"
      wait $filler; rm "$0/filler"
      "$@" > "$0.second"; echo "second: $?, left: $(ls "$0" | tr '\\n' ' ')"
      cp "$0/out.onnx" "$0.out.onnx"`;
    const disk = bench.at("disk");
    const words = [process.execPath, programPath, decoder(), "-o"];
    await saveSmallDecoder(decoder());
    const made = spawnSync("mkdir", [disk]);
    expect(made.status).toBe(0);
    const { stdout, stderr, status, error } = spawnSync(
      "unshare",
      ["-m", "bash", "-c", script, disk, ...words, join(disk, "out.onnx"), ...lm],
      { encoding: "utf8" },
    );
    if (error || status === 99 || /unshare: /.test(stderr)) {
      context.skip("mounting a tmpfs is not allowed here");
    }
    expect(stdout).toMatch(/^first: 1, left: filler out\.onnx\.checkpoint $/m);
    expect(stdout).toMatch(/^second: 0, left: out\.onnx $/m);
    const [first, second] = await Promise.all(
      ["disk.first", "disk.second"].map((name) => readFile(bench.at(name), "utf8")),
    );
    expect(JSON.parse(first).error.message).toMatch(
      /Cannot write the checkpoint folder .*ENOSPC.*finished layers are kept/,
    );
    expect(JSON.parse(second).propagation.resumed).toBeGreaterThanOrEqual(5);
    expect((await run(args("whole.onnx"))).code).toBe(0);
    const [whole, resumed] = await Promise.all(
      ["whole.onnx", "disk.out.onnx"].map((name) => readFile(bench.at(name))),
    );
    expect(resumed.equals(whole)).toBe(true);
  });
});
