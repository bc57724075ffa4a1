import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { openScratch } from "../../benchmarks/harness/scratch.ts";

test("a temporary folder and all in it is gone when it is closed", () => {
  const [one, other] = [openScratch(), openScratch()];
  writeFileSync(join(one.path, "model.onnx"), "weights");
  one.close();
  expect([existsSync(one.path), existsSync(other.path)]).toEqual([false, true]);
  other.close();
});

test("however many there are, the process listens once", () => {
  const listeners = () => [process.listenerCount("exit"), process.listenerCount("SIGINT")];
  openScratch().close();
  const before = listeners();
  openScratch().close();
  expect(listeners()).toEqual(before);
});
