/** The folder of finished layers: what comes back, what is thrown away, what is refused. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { parseFormat } from "../../src/core/format.ts";
import type { QuantizedTensor } from "../../src/core/quantized.ts";
import { openCheckpoint } from "../../src/pipeline/checkpoint.ts";
import { scratch } from "../support/command.ts";

let folder: ReturnType<typeof scratch>;
beforeEach(() => {
  folder = scratch();
});
afterEach(() => folder.remove());

const tensor = (id: string): QuantizedTensor => {
  const format = parseFormat(id);
  const [rows, cols, blocks] = [3, 40, format.blockSize === 0 ? 1 : 2];
  return {
    format,
    rows,
    cols,
    codes: Uint8Array.from({ length: rows * cols }, (_, i) => (i * 7) % 2 ** format.bits),
    scales: Float32Array.from({ length: rows * blocks }, (_, i) => (i - 2) / 3),
    zeroPoints: format.symmetric
      ? undefined
      : Uint8Array.from({ length: rows * blocks }, (_, i) => i % 4),
  };
};
const names = ["/model/layers.0/q", "a\nb", "größe 🙂", "x".repeat(400)];
const ids = ["int2-b32-asym", "int4-b32", "int8-row", "int6-b32-asym"];
const note = { layer: "x", relativeDrift: 0.1, alpha: 0.5, damping: 1, gain: null };

async function filled() {
  const checkpoint = await openCheckpoint(folder.at("c"), "print");
  for (const [i, name] of names.entries()) {
    await checkpoint.save(name, { quantized: tensor(ids[i]), note });
  }
  return checkpoint;
}

test("gives back what it got, in a later run too; remove() leaves nothing", async () => {
  expect((await filled()).resumed.size).toBe(0);
  const again = await openCheckpoint(folder.at("c"), "print");
  expect([...again.resumed].sort()).toEqual([...names].sort());
  for (const [i, name] of names.entries()) {
    expect(await again.load(name)).toEqual({ quantized: tensor(ids[i]), note });
  }
  await again.remove();
  expect(folder.files()).toEqual([]);
});

test("remove() leaves what somebody else put there", async () => {
  const checkpoint = await filled();
  writeFileSync(folder.at("c/notes.txt"), "mine");
  await checkpoint.remove();
  expect(readdirSync(folder.at("c"))).toEqual(["notes.txt"]);
});

test.each([
  ["cut short", (bytes: Buffer) => bytes.subarray(0, bytes.length - 1)],
  ["cut in the header", (bytes: Buffer) => bytes.subarray(0, 40)],
  ["empty", () => Buffer.alloc(0)],
  ["longer", (bytes: Buffer) => Buffer.concat([bytes, Buffer.of(0)])],
  ["one bit flipped", (bytes: Buffer) => bytes.with(bytes.length - 5, bytes[bytes.length - 5] ^ 4)],
])("a layer's file that is %s is made again", async (_, damage) => {
  await filled();
  const [file] = readdirSync(folder.at("c")).filter((name) => name.endsWith(".layer"));
  const path = join(folder.at("c"), file);
  writeFileSync(path, damage(readFileSync(path)));
  const again = await openCheckpoint(folder.at("c"), "print");
  expect(again.resumed.size).toBe(names.length - 1);
  expect(readdirSync(folder.at("c"))).not.toContain(file);
});

test("a file that was being written is no layer", async () => {
  await filled();
  writeFileSync(join(folder.at("c"), "0.layer.part"), "half");
  expect((await openCheckpoint(folder.at("c"), "print")).resumed.size).toBe(names.length);
  expect(readdirSync(folder.at("c")).some((name) => name.endsWith(".part"))).toBe(false);
});

test("the checkpoint of another run and other people's folders are refused and left as they are", async () => {
  await filled();
  const before = readdirSync(folder.at("c"));
  await expect(openCheckpoint(folder.at("c"), "other")).rejects.toMatchObject({
    code: "output",
    message: expect.stringContaining("belongs to another run"),
  });
  expect(readdirSync(folder.at("c"))).toEqual(before);
  mkdirSync(folder.at("mine"));
  writeFileSync(folder.at("mine/thesis.txt"), "words");
  await expect(openCheckpoint(folder.at("mine"), "print")).rejects.toMatchObject({
    code: "output",
    message: expect.stringContaining("other files"),
  });
  expect(readdirSync(folder.at("mine"))).toEqual(["thesis.txt"]);
  mkdirSync(folder.at("empty"));
  expect((await openCheckpoint(folder.at("empty"), "print")).resumed.size).toBe(0);
});
