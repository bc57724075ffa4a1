import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { openJournal } from "../../benchmarks/harness/journal.ts";
import { openResults, readResults } from "../../benchmarks/harness/results.ts";
import { npy } from "../../benchmarks/quality/npy.ts";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bitloom-test-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe("results", () => {
  const measurement = { key: { shape: "A" }, figures: { ms: { value: 2, low: 1, high: 3 } } };

  test("are one complete line per measurement", () => {
    const path = join(folder, "deep", "results.jsonl");
    openResults("kernels", path, { seed: 7 }).write(measurement);
    const [line, ...rest] = readResults(path);
    expect(rest).toEqual([]);
    expect(line).toMatchObject({ benchmark: "kernels", ...measurement, environment: { seed: 7 } });
    expect(Object.keys(line.environment).sort()).toEqual(
      ["bitloom", "commit", "cpu", "machine", "node", "seed"].sort(),
    );
  });

  test("replace the file, or are added to it", () => {
    const path = join(folder, "results.jsonl");
    openResults("kernels", path).write(measurement);
    openResults("kernels", path, { append: true }).write(measurement);
    expect(readResults(path)).toHaveLength(2);
    openResults("kernels", path).write(measurement);
    expect(readResults(path)).toHaveLength(1);
  });

  test("of another shape are refused by file and line", () => {
    const path = join(folder, "results.jsonl");
    openResults("kernels", path).write(measurement);
    appendFileSync(path, '{"ms":3}\n');
    expect(() => readResults(path)).toThrow("results.jsonl, line 2");
  });
});

describe("the journal", () => {
  test("makes each piece once, in this run and in the next", async () => {
    const path = join(folder, "run.partial");
    let made = 0;
    const make = () => ({ made: ++made });
    const first = openJournal(path, "f");
    expect(await first.remember("a", make)).toEqual({ made: 1 });
    expect(await first.remember("a", make)).toEqual({ made: 1 });
    const second = openJournal(path, "f");
    expect(second).toMatchObject({ resumed: 1, dropped: false });
    expect(await second.remember("a", make)).toEqual({ made: 1 });
    second.remove();
    expect(openJournal(path, "f").resumed).toBe(0);
  });

  test("drops what was made under another fingerprint", () => {
    const path = join(folder, "run.partial");
    openJournal(path, "old").put("a", 1);
    const now = openJournal(path, "new");
    expect(now).toMatchObject({ resumed: 0, dropped: true });
    now.put("b", 2);
    expect(readFileSync(path, "utf8")).not.toContain("old");
    expect(openJournal(path, "old")).toMatchObject({ resumed: 0, dropped: true });
  });

  test("goes on after a line that was cut off", () => {
    const path = join(folder, "run.partial");
    openJournal(path, "f").put("a", 1);
    writeFileSync(path, `${readFileSync(path, "utf8")}{"fingerprint":"f","key":"b","val`);
    const now = openJournal(path, "f");
    expect([now.get("a"), now.has("b")]).toEqual([1, false]);
    now.put("b", 2);
    expect(openJournal(path, "f").get("b")).toBe(2);
  });
});

test("arrays are written as NumPy reads them", () => {
  const bytes = Buffer.from(npy("int64", [1, 2], new BigInt64Array([3n, -1n])));
  expect(bytes.subarray(0, 8).toString("latin1")).toBe("\u0093NUMPY\u0001\u0000");
  const length = bytes.readUInt16LE(8);
  expect((10 + length) % 64).toBe(0);
  const head = bytes.subarray(10, 10 + length).toString();
  expect(head.trimEnd()).toBe("{'descr': '<i8', 'fortran_order': False, 'shape': (1, 2), }");
  const data = new BigInt64Array(Uint8Array.from(bytes.subarray(10 + length)).buffer);
  expect([...data]).toEqual([3n, -1n]);
  expect(Buffer.from(npy("float32", [1], new Float32Array(1))).toString("latin1")).toContain(
    "(1,)",
  );
  expect(() => npy("bfloat16", [1], new Uint16Array(1))).toThrow("bfloat16");
});
