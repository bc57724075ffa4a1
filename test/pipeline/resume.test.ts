/** Runs that are killed or interrupted in the middle, and go on: the same bytes as an undisturbed run. */
import { existsSync, readdirSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createRandom } from "../../src/core/random.ts";
import { run, scratch } from "../support/command.ts";
import { saveSmallDecoder, smallData, smallLayers } from "../support/small-decoder.ts";

let folder: ReturnType<typeof scratch>;
beforeEach(() => {
  folder = scratch();
});
afterEach(() => folder.remove());

const models = scratch();
const model = models.at("model.onnx");
beforeAll(() => saveSmallDecoder(model));
afterAll(() => models.remove());
const settings = [
  ...smallData,
  ...["-s", "weight-error", "-a", "uniform"],
  ...["-b", "5bpw", "-f", "int4-b32-asym,int3-b32-asym", "--correction", "qep"],
];
const args = (name: string, ...more: string[]) => [
  ...[model, "-o", folder.at(name), ...settings, "--json", ...more],
];
const checkpointOf = (name: string) => folder.at(`${name}.checkpoint`);
const finishedIn = (path: string) =>
  existsSync(path) ? readdirSync(path).filter((file) => file.endsWith(".layer")).length : 0;

/** Starts a run and sends it a signal as soon as so many layers are finished. */
async function stopAfter(layers: number, name: string, signal: NodeJS.Signals) {
  let timer: NodeJS.Timeout | undefined;
  const finished = await run(args(name), {
    onError(_, child) {
      timer ??= setInterval(() => {
        if (finishedIn(checkpointOf(name)) < layers) return;
        clearInterval(timer);
        child.kill(signal);
      }, 5);
    },
  });
  clearInterval(timer);
  return finished;
}

test("kill -9 at ten moments: the next run goes on and writes the bytes of an undisturbed one", async () => {
  expect((await run(args("whole.onnx"))).code).toBe(0);
  const whole = await readFile(folder.at("whole.onnx"));
  const random = createRandom(7);
  const resumed: number[] = [];
  for (let attempt = 0; attempt < 10; attempt++) {
    const name = `killed${attempt}.onnx`;
    const { code, signal } = await stopAfter(1 + random.integer(smallLayers - 2), name, "SIGKILL");
    expect({ code, signal }).toEqual({ code: null, signal: "SIGKILL" });
    const left = finishedIn(checkpointOf(name));
    expect(left).toBeGreaterThan(0);
    expect(existsSync(folder.at(name))).toBe(false);
    const again = await run(args(name));
    expect(again.code, again.stderr).toBe(0);
    resumed.push(JSON.parse(again.stdout).propagation.resumed);
    expect(resumed.at(-1)).toBe(left);
    expect((await readFile(folder.at(name))).equals(whole)).toBe(true);
    expect(existsSync(checkpointOf(name))).toBe(false);
  }
  // The moments were not all the same.
  expect(new Set(resumed).size).toBeGreaterThan(3);
}, 600_000);

describe("a checkpoint that is left", () => {
  test("by Ctrl-C; an other run refuses it and leaves it, the same one goes on", async () => {
    const { code, stdout } = await stopAfter(6, "out.onnx", "SIGINT");
    expect(code).toBe(130);
    expect(JSON.parse(stdout).error.message).toMatch(
      /out\.onnx\.checkpoint": run the same command again to go on/,
    );
    const left = finishedIn(checkpointOf("out.onnx"));
    expect(left).toBeGreaterThanOrEqual(6);
    expect(left).toBeLessThan(smallLayers);
    const other = await run(args("out.onnx", "--damping", "0.02"));
    expect(other.code).toBe(1);
    expect(other.stderr + other.stdout).toMatch(/belongs to another run/);
    expect(finishedIn(checkpointOf("out.onnx"))).toBe(left);
    const again = await run(args("out.onnx", "--threads", "1"));
    expect(again.code, again.stderr).toBe(0);
    expect(JSON.parse(again.stdout).propagation.resumed).toBe(left);
  }, 60_000);

  test("is removed when the result misses a quality bound", async () => {
    const { code } = await run(args("out.onnx", "--max-kl", "0.0001"));
    expect(code).toBe(3);
    expect(folder.files()).toEqual([]);
  }, 60_000);
});
