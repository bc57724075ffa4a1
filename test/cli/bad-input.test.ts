import { spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { openModel } from "../../src/onnx/index.ts";
import { entry, tensorProto } from "../onnx/raw-message.ts";
import { programPath } from "../support/build.ts";
import { quick, run, scratch, tinyLm } from "../support/command.ts";
import {
  cyclic,
  eightTokens,
  matMul,
  model,
  onlyTransposedConv,
  overridable,
  staleRank,
  staleShapes,
  twoLayers,
  typed,
  unknownOperator,
  weightInBranch,
} from "./models.ts";

/** Data-free methods: the shortest way from a model to a file. */
const fast = ["-s", "weight-error", "-q", "rtn", "-f", "int4-b32,int8-b32", "-b", "9bpw"];

let folder: ReturnType<typeof scratch>;
beforeEach(() => {
  folder = scratch();
});
afterEach(() => folder.remove());

const put = (name: string, content: Uint8Array | string) => {
  writeFileSync(folder.at(name), content);
  return folder.at(name);
};
const out = () => ["-o", folder.at("out.onnx")];

/** Runs twice, as text and with --json: same exit code, a clear error, nothing written. */
async function refused(args: readonly string[], code: number, message: RegExp): Promise<string> {
  const before = folder.files();
  const text = await run(args);
  expect({ code: text.code, stdout: text.stdout }).toEqual({ code, stdout: "" });
  const error = text.stderr.split("\n").find((line) => line.startsWith("error: ")) ?? text.stderr;
  expect(error).toMatch(message);
  expect(text.stderr).not.toMatch(/\n\s+at /);
  const json = await run([...args, "--json", "--quiet"]);
  expect({ code: json.code, stderr: json.stderr }).toEqual({ code, stderr: "" });
  const document = JSON.parse(json.stdout);
  expect(document).toMatchObject({ version: 1, command: "quantize" });
  expect(document.error.message).toMatch(message);
  expect(document.error).toMatchObject({ code: expect.any(String), detail: expect.any(Object) });
  expect(folder.files()).toEqual(before);
  return document.error.code;
}

describe("models", () => {
  const quantize = (bytes: Uint8Array | string) => [put("m.onnx", bytes), ...out(), ...fast];

  test("no such file, not an ONNX file, truncated", async () => {
    expect(await refused([folder.at("none"), ...out(), ...fast], 1, /no such file/)).toBe(
      "bad-model",
    );
    expect(await refused(quantize("Just a text.\n"), 1, /m\.onnx/)).toBe("bad-model");
    const bytes = await readFile(join(tinyLm, "model.onnx"));
    expect(await refused(quantize(bytes.subarray(0, 1e6)), 1, /truncated/)).toBe("bad-model");
  });

  const external = (location: string) =>
    model(
      18,
      [1, matMul("x", "w1", "y")],
      [5, tensorProto("w1", 1, [32, 32], [13, entry("location", location)], [14, 1])],
      [11, typed("x", [2, 32])],
      [12, typed("y", [2, 32])],
    );

  test("missing external data, a path that leaves the folder", async () => {
    expect(await refused(quantize(external("w.data")), 1, /tensor "w1".*no such file/)).toBe(
      "bad-model",
    );
    mkdirSync(folder.at("home"));
    put("secret.data", new Uint8Array(4096));
    const inside = put("home/m.onnx", external("../secret.data"));
    expect(await refused([inside, ...out(), ...fast], 1, /"\.\."/)).toBe("bad-model");
  });

  test("a tensor whose declared size does not match", async () => {
    const short = tensorProto("w1", 1, [32, 32], [9, new Uint8Array(100)]);
    const bytes = model(
      18,
      [1, matMul("x", "w1", "y")],
      [5, short],
      [11, typed("x", [2, 32])],
      [12, typed("y", [2, 32])],
    );
    expect(await refused(quantize(bytes), 1, /expected 4096 bytes.*got 100/)).toBe("bad-model");
  });

  test("an opset and an operator that nobody knows", async () => {
    expect(await refused(quantize(twoLayers([], 99)), 1, /opset 99.*expected 1 to/)).toBe(
      "bad-model",
    );
    expect(await refused(quantize(unknownOperator()), 1, /Teleport/)).toBe("bad-model");
  });

  test("stale shapes that ONNX Runtime refuses", async () => {
    const message = /ONNX Runtime could not load ".*m\.onnx".*ShapeInferenceError/;
    expect(await refused(quantize(staleRank()), 1, message)).toBe("bad-model");
  });

  test("a cycle", async () => {
    expect(await refused(quantize(cyclic()), 1, /"(one|two)"/)).toBe("bad-model");
  });

  test("nothing to quantize: an error here, an explanation from inspect", async () => {
    const args = quantize(onlyTransposedConv());
    expect(await refused(args, 1, /no layer that can be quantized.*ConvTranspose/)).toBe(
      "unsupported",
    );
    const { code, stdout } = await run(["inspect", args[0]]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^conv +ConvTranspose +\S/m);
    expect(stdout).toMatch(/^Quantizable +nothing/m);
  });
});

describe("data", () => {
  test("feeds of a wrong name, type and shape", async () => {
    const args = [put("m.onnx", twoLayers()), ...out(), ...fast, "-c", folder.at("feeds.jsonl")];
    const line = (name: string, dtype: string, shape: number[]) =>
      `${JSON.stringify({ [name]: { dtype, shape, data: Array(shape.reduce((a, b) => a * b)).fill(1) } })}\n`;
    const feeds = (...wrong: Parameters<typeof line>) =>
      put("feeds.jsonl", line(...wrong).repeat(8));
    feeds("z", "float32", [2, 32]);
    expect(await refused(args, 1, /"z"/)).toBe("bad-data");
    feeds("x", "int64", [2, 32]);
    expect(await refused(args, 1, /"x".*expected float32.*int64/)).toBe("bad-data");
    feeds("x", "float32", [2, 31]);
    expect(await refused(args, 1, /"x".*32.*31/)).toBe("bad-data");
    put("feeds.jsonl", "");
    expect(await refused(args, 1, /feeds\.jsonl.*empty/)).toBe("bad-data");
    feeds("x", "float32", [2, 32]);
    expect((await run(args)).code).toBe(0);
  });

  test("an empty text, a text without tokenizer", async () => {
    const lm = join(tinyLm, "model.onnx");
    const empty = put("empty.txt", "");
    expect(await refused([lm, ...out(), ...fast, "-c", empty], 1, /empty/)).toBe("bad-data");
    const args = [
      put("m.onnx", eightTokens()),
      ...out(),
      ...fast,
      "-c",
      put("t.txt", "some words"),
    ];
    expect(await refused(args, 1, /needs a tokenizer/)).toBe("bad-data");
  });

  test("a tokenizer that produces ids beyond the vocabulary", async () => {
    const lm = put("m.onnx", eightTokens());
    const text = put("t.txt", "a few words, many times over. ".repeat(200));
    const args = [lm, ...out(), ...fast, "-c", text, "-t", join(tinyLm, "tokenizer.json")];
    expect(await refused(args, 1, /outside the model's vocabulary: expected ids below 8/)).toBe(
      "bad-data",
    );
  });
});

describe("budgets that cannot be met name the range and fail before any work", () => {
  test.each(["1bpw", "1kB", "5%"])("%s", async (budget) => {
    const method = ["-s", "weight-error", "-q", "rtn", "-f", "int4-b32", "-b", budget];
    const args = [put("m.onnx", twoLayers()), ...out(), ...method];
    expect(await refused(args, 1, /Budget .* is below .*Raise --budget/)).toBe("infeasible-budget");
    expect((await run(args)).stderr).not.toMatch(/score/);
  });
});

describe("what is valid but strange is quantized as far as possible", () => {
  const quantized = async (bytes: Uint8Array) => {
    const input = put("m.onnx", bytes);
    const { code, stdout } = await run([input, ...out(), ...fast, "--json", "--quiet"]);
    expect(code).toBe(0);
    const report = JSON.parse(stdout);
    expect((await openModel(folder.at("out.onnx"))).opsets.has("com.microsoft")).toBe(true);
    const evaluated = await run(["evaluate", input, folder.at("out.onnx"), "--json", "--quiet"]);
    const { outputs } = JSON.parse(evaluated.stdout).quality;
    for (const { sqnrDb } of outputs) expect(sqnrDb).toBeGreaterThan(35);
    return report;
  };

  test("stale shapes of inner values", async () => {
    expect((await quantized(staleShapes())).layers).toHaveLength(2);
  });
  test("a weight that is also a graph input", async () => {
    const { layers, skipped } = await quantized(overridable());
    expect(layers.map(({ weight }: { weight: string }) => weight)).toEqual(["w1"]);
    expect(skipped).toEqual([
      { name: "y/MatMul", opType: "MatMul", reason: expect.stringMatching(/also a graph input/) },
    ]);
  });
  test("a weight that is read inside an If body", async () => {
    const { layers, skipped } = await quantized(weightInBranch());
    expect(layers.map(({ weight }: { weight: string }) => weight)).toEqual(["w1"]);
    expect(skipped).toContainEqual({
      name: "z/MatMul",
      opType: "MatMul",
      reason: expect.stringMatching(/inside a subgraph/),
    });
  });
});

describe("a disk that is full leaves nothing behind", () => {
  test("a limit on the size of files", async () => {
    const args = [
      join(tinyLm, "model.onnx"),
      ...out(),
      ...quick,
      "-s",
      "weight-error",
      "-b",
      "5bpw",
      "--one-shot",
    ];
    const { code, stderr } = await run(args, { shell: "ulimit -f 200" });
    expect({ code, files: folder.files() }).toEqual({ code: 1, files: [] });
    expect(stderr).toMatch(
      /error: Cannot write ".*out\.onnx".*(EFBIG|too large).*Nothing was left behind/,
    );
  });

  test.for([
    [true, "256k", /error: The disk of .* has no room for the output: expected at least/],
    [false, "1100k", /error: The disk of .* has no room for the checkpoint and the output/],
    // The least there is would fit; what the plan makes of it does not.
    [true, "780k", /error: Cannot write ".*out\.onnx".*ENOSPC/],
  ] as const)(
    "a small file system, one-shot %s, %s",
    async ([isOneShot, size, message], context) => {
      const args = [
        join(tinyLm, "model.onnx"),
        ...out(),
        ...quick,
        "-s",
        "weight-error",
        "-b",
        "5bpw",
        ...(isOneShot ? ["--one-shot"] : []),
      ];
      // In a mount namespace of its own: gone with the process, invisible to everybody else.
      const script = `mount -t tmpfs -o size=${size} none "$0" || exit 99; "$@"; code=$?; echo "left: $(ls -A "$0")" >&2; exit $code`;
      const words = [
        "-m",
        "bash",
        "-c",
        script,
        folder.path,
        process.execPath,
        programPath,
        ...args,
      ];
      const { status, stderr, error } = spawnSync("unshare", words, { encoding: "utf8" });
      if (error || status === 99 || /unshare: /.test(stderr)) {
        context.skip("mounting a tmpfs is not allowed here");
      }
      expect(status).toBe(1);
      expect(stderr).toMatch(message);
      expect(stderr).toMatch(/^left: $/m);
    },
  );
});

describe("Ctrl-C half-way", () => {
  const long = [
    join(tinyLm, "model.onnx"),
    ...["-c", join(tinyLm, "calibration.txt"), "--rows", "32", "-b", "4bpw"],
  ];

  test.each([
    ["SIGINT", 0],
    ["SIGTERM", 0],
    // Far enough that forward passes are under way on the worker threads.
    ["SIGINT", 1500],
  ] as const)("%s, %i ms into scoring, exits with 130, nothing written", async (name, delayMs) => {
    let sent = false;
    const { code, signal, stdout, stderr } = await run([...long, ...out(), "--json"], {
      onError(text, child) {
        if (sent || !text.includes("score layers")) return;
        sent = true;
        setTimeout(() => child.kill(name), delayMs);
      },
    });
    expect({ sent, code, signal }).toEqual({ sent: true, code: 130, signal: null });
    expect(JSON.parse(stdout).error).toMatchObject({ code: "aborted" });
    expect(stderr).not.toMatch(/evaluate|save/);
    expect(folder.files()).toEqual([]);
  });

  test("a second one ends the process at once", async () => {
    let sent = 0;
    const { code, signal } = await run([...long, ...out()], {
      onError(text, child) {
        if (sent > 0 || !text.includes("score layers")) return;
        sent++;
        child.kill("SIGINT");
        child.kill("SIGINT");
        setTimeout(() => child.kill("SIGINT"), 20);
      },
    });
    expect([code, signal]).toContainEqual(signal === "SIGINT" ? "SIGINT" : 130);
    expect(folder.files()).toEqual([]);
  });
});
