import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { openManifest, openNpy } from "../../../src/calibrate/data/manifest.ts";
import { graphOf } from "./graph.ts";
import { npyBytes } from "./npy-bytes.ts";
import { temporaryFolder } from "./tokenizers.ts";

const graph = graphOf({
  inputs: { x: ["float32", ["batch", 2]], n: ["int64", [1]] },
});

async function manifest(...lines: string[]): Promise<string> {
  const path = join(await temporaryFolder(), "data.jsonl");
  await writeFile(path, lines.join("\n"));
  return path;
}

describe("openManifest", () => {
  test("reads nested arrays, described tensors and .npy files beside the manifest", async () => {
    const path = await manifest(
      '{"x": [[1, 2]], "n": [3]}',
      "",
      '{"x": {"dtype": "float64", "shape": [2, 2], "data": [1, 2, 3, 4]}, "n": [4]}',
      '{"x": "arrays/x.npy", "n": {"dtype": "int32", "shape": [1], "data": [5]}}',
    );
    await mkdir(join(path, "../arrays"));
    await writeFile(join(path, "../arrays/x.npy"), npyBytes("<f8", [1, 2], Float64Array.of(7, 8)));
    const dataset = await openManifest(path, { graph });
    expect(dataset).toMatchObject({ kind: "manifest", samples: 3, batches: 3, overlap: 0 });
    expect((await dataset.batch(0)).feeds).toEqual({
      x: { dtype: "float32", shape: [1, 2], data: Float32Array.of(1, 2) },
      n: { dtype: "int64", shape: [1], data: BigInt64Array.of(3n) },
    });
    expect((await dataset.batch(1)).feeds.x).toEqual({
      dtype: "float32",
      shape: [2, 2],
      data: Float32Array.of(1, 2, 3, 4),
    });
    expect((await dataset.batch(2)).feeds).toMatchObject({
      x: { data: Float32Array.of(7, 8) },
      n: { data: BigInt64Array.of(5n) },
    });
  });

  test("the fingerprint follows the lines and the arrays they name", async () => {
    const path = await manifest('{"x": "x.npy", "n": [3]}');
    const save = (value: number) =>
      writeFile(join(path, "../x.npy"), npyBytes("<f4", [1, 2], Float32Array.of(value, 0)));
    await save(1);
    const first = (await openManifest(path, { graph })).fingerprint;
    expect((await openManifest(path, { graph })).fingerprint).toBe(first);
    await save(2);
    expect((await openManifest(path, { graph })).fingerprint).not.toBe(first);
  });

  test("rows keeps the first samples", async () => {
    const path = await manifest('{"x": [[1, 2]], "n": [3]}', '{"x": [[1, 2]], "n": [4]}');
    expect((await openManifest(path, { graph, rows: 1 })).samples).toBe(1);
    await expect(openManifest(path, { graph, rows: 0 })).rejects.toMatchObject({
      code: "bad-option",
    });
  });

  test.each([
    ["no JSON", "{x}", /line 1 of data\.jsonl: expected a JSON object/],
    ["an array", "[1]", /expected a JSON object of input names/],
    ["a missing file", '{"x": "none.npy"}', /expected a readable file ".*none\.npy", got ENOENT/],
  ])("refuses a line with %s when it is opened", async (_, line, message) => {
    await expect(openManifest(await manifest(line), { graph })).rejects.toThrow(message);
  });

  test.each([
    ["an unknown input", '{"y": [1]}', /"y" in line 1 .* "x" float32 \[batch, 2\]/],
    ["a missing input", '{"x": [[1, 2]]}', /Input "n" in line 1 .* got nothing/],
    ["another shape", '{"x": [1, 2], "n": [1]}', /"x" in line 1 .* got float32 \[2\]/],
    ["ragged arrays", '{"x": [[1, 2], [3]], "n": [1]}', /expected 2 elements at depth 1, got 1/],
    ["text for numbers", '{"x": [["1", 2]], "n": [1]}', /expected numbers, got "1"/],
    ["null", '{"x": [[null, 2]], "n": [1]}', /expected numbers, got null/],
    ["a fraction for an integer", '{"x": [[1, 2]], "n": [1.5]}', /1\.5 at element 0/],
    ["integers for floats", tensorLine("int32", [1, 2], [1, 2]), /never converted silently/],
    ["another count", tensorLine("float32", [1, 2], [1]), /"x" in line 1 .* expected 2 elements/],
    ["an unknown type", tensorLine("float31", [1, 2], [1, 2]), /got .*float31/],
    ["a negative size", tensorLine("float32", [-1, 2], [1, 2]), /got .*-1/],
  ])("refuses %s", async (_, line, message) => {
    const dataset = await openManifest(await manifest(line), { graph });
    await expect(dataset.batch(0)).rejects.toThrow(message);
  });

  test("refuses an empty or missing file", async () => {
    await expect(openManifest(await manifest(""), { graph })).rejects.toThrow("an empty file");
    await expect(openManifest("/none/data.jsonl", { graph })).rejects.toThrow("ENOENT");
  });
});

function tensorLine(dtype: string, shape: number[], data: number[]): string {
  return JSON.stringify({ x: { dtype, shape, data }, n: [1] });
}

describe("openNpy", () => {
  async function npy(shape: number[]): Promise<string> {
    const path = join(await temporaryFolder(), "x.npy");
    const count = shape.reduce((a, b) => a * b, 1);
    await writeFile(
      path,
      npyBytes(
        "<f4",
        shape,
        Float32Array.from({ length: count }, (_, i) => i),
      ),
    );
    return path;
  }
  const single = (dims: readonly (number | string)[]) =>
    graphOf({ inputs: { x: ["float32", dims] } });

  test("one axis more than the input: the leading axis counts samples", async () => {
    const dataset = await openNpy(await npy([3, 2, 2]), { graph: single(["batch", 2]) });
    expect(dataset.samples).toBe(3);
    expect((await dataset.batch(1)).feeds.x).toEqual({
      dtype: "float32",
      shape: [2, 2],
      data: Float32Array.of(4, 5, 6, 7),
    });
  });

  test("the input's own rank: the batch axis is cut into single samples", async () => {
    const dataset = await openNpy(await npy([3, 2]), { graph: single(["batch", 2]) });
    expect(dataset.samples).toBe(3);
    expect((await dataset.batch(2)).feeds.x).toMatchObject({
      shape: [1, 2],
      data: Float32Array.of(4, 5),
    });
  });

  test("a fixed batch is kept whole", async () => {
    const dataset = await openNpy(await npy([4, 2]), { graph: single([2, 2]) });
    expect(dataset.samples).toBe(2);
    expect((await dataset.batch(1)).feeds.x).toMatchObject({
      shape: [2, 2],
      data: Float32Array.of(4, 5, 6, 7),
    });
    const odd = await npy([3, 2]);
    await expect(openNpy(odd, { graph: single([2, 2]) })).rejects.toThrow("along a leading axis");
  });

  test("refuses other ranks, other fixed dimensions, no samples and several inputs", async () => {
    const wanted = { graph: single(["batch", 2]) };
    await expect(openNpy(await npy([4]), wanted)).rejects.toThrow("got [4]");
    await expect(openNpy(await npy([0, 2]), wanted)).rejects.toThrow("got [0, 2]");
    await expect((await openNpy(await npy([1, 3]), wanted)).batch(0)).rejects.toThrow(
      "expected float32 [batch, 2], got float32 [1, 3]",
    );
    await expect(openNpy(await npy([1, 2]), { graph })).rejects.toThrow("a model with one input");
  });
});
