/** Models opened from bytes in memory, as a browser opens them. */
import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { isBitloomError } from "../../src/core/errors.ts";
import { editModel, encodeModel, openModel, saveModel } from "../../src/onnx/index.ts";
import { type OpenBytesOptions, openModelBytes } from "../../src/onnx/portable.ts";
import { graph } from "../support/graph-builder.ts";
import { entry, type Field, message, modelProto, tensorProto } from "./raw-message.ts";

const folder = await mkdtemp(join(tmpdir(), "bitloom-bytes-"));
afterAll(() => rm(folder, { recursive: true }));

const numbers = (count: number, first: number): Float32Array =>
  Float32Array.from({ length: count }, (_, i) => first + i);

/** Two weights of 4 kB; saved with external data, they lie in "m.onnx.data". */
const inline = graph()
  .input("x", "float32", ["rows", 32])
  .initializer("w1", [32, 32], numbers(1024, 0))
  .initializer("w2", [32, 32], numbers(1024, 5000))
  .node("MatMul", ["x", "w1"], ["h"])
  .node("MatMul", ["h", "w2"], ["y"])
  .output("y", "float32", ["rows", 32])
  .model();
const path = join(folder, "m.onnx");
await saveModel(inline, path, { externalData: "always" });
const bytes = new Uint8Array(await readFile(path));
const data = new Uint8Array(await readFile(`${path}.data`));

/** A model whose one float32 tensor [10] lies at `location`. */
const placedAt = (location: string): Uint8Array =>
  modelProto([5, tensorProto("w", 1, [10], [13, entry("location", location)], [14, 1])]);

async function failure(model: Uint8Array, options?: OpenBytesOptions): Promise<string> {
  const error = await openModelBytes(model, options).catch((reason: unknown) => reason);
  if (!isBitloomError(error, "bad-model")) throw new Error("expected bad-model", { cause: error });
  return error.message;
}

describe("external data in memory", () => {
  test("reads as from the folder", async () => {
    const model = await openModelBytes(bytes, { externalData: { "m.onnx.data": data } });
    const file = await openModel(path);
    expect(model.path).toBeUndefined();
    expect(model.fileBytes).toBe(file.fileBytes);
    expect(await encodeModel(model)).toEqual(await encodeModel(file));
    expect(await encodeModel(model)).toEqual(await encodeModel(inline));
  });

  test("an edited model still reads it, and a copy saved by Node holds it", async () => {
    const model = await openModelBytes(bytes, { externalData: { "m.onnx.data": data } });
    const editor = editModel(model);
    editor.setMetadata("edited", "yes");
    const edited = editor.commit();
    expect(await edited.graph.initializers.get("w2")?.bytes()).toEqual(
      new Uint8Array(numbers(1024, 5000).buffer),
    );
    await mkdir(join(folder, "copy"));
    await saveModel(model, join(folder, "copy", "n.onnx"));
    expect(await readFile(join(folder, "copy", "n.onnx"))).toEqual(await readFile(path));
    expect(await readFile(join(folder, "copy", "m.onnx.data"))).toEqual(
      await readFile(`${path}.data`),
    );
  });

  test("two files in memory stay two when an edited model moves them into one", async () => {
    const weight = (name: string, location: string): Field => [
      5,
      tensorProto(name, 1, [1000], [13, entry("location", location)], [14, 1]),
    ];
    const model = await openModelBytes(modelProto(weight("a", "a.data"), weight("b", "b.data")), {
      externalData: {
        "a.data": new Uint8Array(numbers(1000, 1).buffer),
        "b.data": new Uint8Array(numbers(1000, 7).buffer),
      },
    });
    const target = join(folder, "two.onnx");
    await saveModel(editModel(model).commit(), target, { externalData: "always" });
    const { initializers } = (await openModel(target)).graph;
    for (const [name, first] of [
      ["a", 1],
      ["b", 7],
    ] as const) {
      const expected = new Uint8Array(numbers(1000, first).buffer);
      expect(await initializers.get(name)?.bytes()).toEqual(expected);
    }
  });

  test("missing data names the location and the option", async () => {
    expect(await failure(bytes)).toMatch(/"w1".*"m\.onnx\.data".*externalData\["m\.onnx\.data"\]/);
    const other = await failure(bytes, { externalData: { "other.data": data } });
    expect(other).toMatch(/got "other\.data"/);
    const inherited = await failure(placedAt("toString"), { externalData: {} });
    expect(inherited).toMatch(/externalData\["toString"\]/);
  });

  test("data that is too short", async () => {
    const short = data.subarray(0, 5000);
    expect(await failure(bytes, { externalData: { "m.onnx.data": short } })).toMatch(/lie beyond/);
  });

  test.each(["", "/w.data", "C:\\w.data", "../w.data", "a\\..\\..\\w.data", "a\0b"])(
    "the location %j is refused even when it is given, because saving would write there",
    async (location) => {
      const externalData = { [location]: new Uint8Array(40) };
      const told = await failure(placedAt(location), { externalData });
      expect(told).toMatch(/relative path/);
    },
  );
});

describe("label", () => {
  test("stands in messages for the model", async () => {
    expect(await failure(message([1, 8]), { label: "https://host/m.onnx" })).toMatch(
      /^"https:\/\/host\/m\.onnx" has no graph/,
    );
    const model = await openModelBytes(await encodeModel(inline), { label: "m of the page" });
    expect(() => editModel(model).removeNode("gone")).toThrow(/Cannot edit "m of the page"/);
    expect(() => editModel(editModel(model).commit()).removeNode("gone")).toThrow(
      /"m of the page"/,
    );
  });

  test("is (in memory) by default", async () => {
    expect(await failure(new Uint8Array(0))).toMatch(/^"\(in memory\)" is empty/);
  });
});
