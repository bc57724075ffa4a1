/** Nodes without kernels on onnxruntime-web, which the page brings along: the numbers of onnxruntime-node. */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { attribute, encodeModel } from "../../src/onnx/index.ts";
import { createSession } from "../../src/runtime/create-session.ts";
import { graph } from "../support/graph-builder.ts";
import { openPage, skipNote } from "./chromium.ts";
import { feeds } from "./fallback.page.ts";

type FallbackPage = typeof import("./fallback.page.ts");

const ortFolder = dirname(createRequire(import.meta.url).resolve("onnxruntime-web"));
const ortFiles = [
  "ort.wasm.min.mjs",
  "ort-wasm-simd-threaded.mjs",
  "ort-wasm-simd-threaded.wasm",
] as const;

/** Three segments of other operators, with every kind of value at their borders: float16, bool, int64, float32. */
const model = graph()
  .input("x", "float16", ["n"])
  .input("ids", "int64", ["n"])
  .input("table", "float32", [5, 2, 2])
  .initializer("zero", [], new Uint16Array(1), "float16")
  .node("Greater", ["x", "zero"], ["positive"])
  .node("Compress", ["x", "positive"], ["kept"], { axis: attribute.int(0) })
  .node("Add", ["kept", "kept"], ["twice"])
  .node("Unique", ["ids"], ["distinct"], { sorted: attribute.int(1) })
  .node("Gather", ["table", "distinct"], ["rows"])
  .node("Det", ["rows"], ["areas"])
  .node("Neg", ["areas"], ["y"])
  .output("twice", "float16")
  .output("distinct", "int64")
  .output("y", "float32")
  .model();

describe.skipIf(skipNote !== "")(`in Chromium${skipNote}`, () => {
  test("a model with operators that have no kernel runs on the page's onnxruntime-web", async () => {
    const bytes = await encodeModel(model);
    const files = Object.fromEntries([
      ["/files/model.onnx", bytes] as const,
      ...ortFiles.map((name) => [`/ort/${name}`, readFileSync(join(ortFolder, name))] as const),
    ]);
    const notices: string[] = [];
    const session = await createSession(bytes, {
      threads: 1,
      onEvent: (event) => event.type === "notice" && notices.push(event.notice.message),
    });
    const expected: number[][] = [];
    for (const shift of [0, 3]) {
      const outputs = await session.run(feeds(shift));
      for (const name of session.outputNames)
        expected.push(Array.from(outputs[name].data as ArrayLike<number | bigint>, Number));
    }
    await session.release();
    const page = await openPage({ files });
    try {
      const got = await page.run<FallbackPage>("fallback", "/ort");
      expect(notices).toHaveLength(3);
      expect(got).toEqual({ results: expected, notices, opened: 2, released: 2 });
    } finally {
      await page.close();
    }
  });
});
