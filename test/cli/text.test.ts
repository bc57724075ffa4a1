import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseArguments } from "../../src/cli/command.ts";
import { quantizeCommand } from "../../src/cli/commands/quantize.ts";
import { duration, exactBytes, significant } from "../../src/cli/numbers.ts";
import { positiveNumber, wholeNumber } from "../../src/cli/options.ts";
import { createStyle, type Style } from "../../src/cli/style.ts";
import { facts, shorten, table, wrap } from "../../src/cli/table.ts";
import { formatCounts, noticeLines, skippedLines } from "../../src/cli/text.ts";

const plain = (columns: number): Style => {
  const same = (text: string) => text;
  return { bold: same, dim: same, warn: same, bad: same, columns };
};

describe("numbers", () => {
  test("keep three significant digits at every size", () => {
    const shown = [0, 1.2345e-7, 0.00123456, 0.5, 12.345, 1234.5, 1e7].map((x) => significant(x));
    expect(shown).toEqual(["0", "1.2e-7", "0.00123", "0.500", "12.3", "1230", "1.0e+7"]);
  });
  test("sizes are exact and readable, times have a fitting unit", () => {
    expect([12, 4_594_851].map(exactBytes)).toEqual(["12 bytes", "4,594,851 bytes (4.6 MB)"]);
    expect([12.4, 3800, 125_000].map(duration)).toEqual(["12 ms", "3.8 s", "2 min 5 s"]);
  });
});

describe("values of options", () => {
  test("whole numbers are decimal digits inside the range, nothing else", () => {
    const read = wholeNumber({ min: 1, max: 9 });
    expect(read("7")).toBe(7);
    for (const text of ["0", "10", "1.5", "-1", "1e0", "NaN", "Infinity", "", " 1", "0x1"]) {
      expect(() => read(text), text).toThrow("Expected a whole number from 1 to 9.");
    }
  });
  test("positive numbers are finite", () => {
    expect([".5", "1e-3", "2."].map(positiveNumber)).toEqual([0.5, 0.001, 2]);
    for (const text of ["0", "-1", "NaN", "Infinity", "1e999", "", "1,5"]) {
      expect(() => positiveNumber(text), text).toThrow("above zero");
    }
  });
  test("an option's text becomes its value", () => {
    const words = ["m", "-o", "o", "--bos", "2", "-p", "a=float32", "-p", "b=int4-b32", "-f", "8"];
    const parsed = parseArguments(quantizeCommand as never, words);
    expect(parsed).toMatchObject({
      kind: "run",
      args: ["m"],
      values: { output: "o", bos: 2, pin: [{ pattern: "a" }, { pattern: "b" }] },
    });
    const { values } = parsed as { values: { formats: readonly { bits: number }[] } };
    expect(new Set(values.formats.map(({ bits }) => bits))).toEqual(new Set([8]));
  });
});

describe("tables", () => {
  const columns = [
    { title: "name", flexible: true },
    { title: "n", align: "right" as const },
  ];
  test("align columns and cut the middle out of long names", () => {
    const rows = [
      ["/model/layers.12/mlp/down_proj/MatMul", "7"],
      ["short", "1234"],
    ];
    const text = table(columns, rows, plain(24));
    expect(text.split("\n")).toEqual([
      "name                   n",
      "/mode…_proj/MatMul     7",
      "short               1234",
    ]);
    expect(table(columns, rows, plain(1000))).toContain(rows[0][0]);
  });
  test("shortened and wrapped text fits", () => {
    fc.assert(
      fc.property(fc.string(), fc.integer({ min: 4, max: 40 }), (text, width) => {
        expect(shorten(text, width).length).toBeLessThanOrEqual(width);
        for (const line of wrap(text, width)) {
          if (line.includes(" ")) expect(line.length).toBeLessThanOrEqual(Math.max(width, 1));
        }
        expect(wrap(text, width).join("").replaceAll(" ", "")).toBe(text.replaceAll(" ", ""));
      }),
    );
  });
  test("facts align under their labels", () => {
    const entries: [string, string][] = [
      ["Size", "1"],
      ["Measured on", "a\nb"],
    ];
    expect(facts(entries, plain(80))).toBe("Size         1\nMeasured on  a\n             b");
  });
});

describe("summaries", () => {
  test("equal notices of several layers are one line", () => {
    const notice = (layer: string) => ({ code: "c", layer, message: `"${layer}" stays in float.` });
    expect(noticeLines([notice("a"), notice("b"), notice("c")], plain(100))).toBe(
      'note: "a" stays in float. (and 2 other layers alike)',
    );
  });
  test("skipped nodes by reason, formats by number", () => {
    const skipped = ["w1", "w2"].map((weight) => ({
      name: weight,
      opType: "MatMul",
      reason: `its weight "${weight}" is shared`,
    }));
    expect(skippedLines(skipped)).toBe("2 × MatMul: its weight … is shared");
    const layers = ["int4-b32", "int8-b32", "int4-b32"].map((format) => ({ format }));
    expect(formatCounts(layers)).toBe("2 × int4-b32, 1 × int8-b32");
  });
});

test("colours only on terminals, and never with NO_COLOR", () => {
  const terminal = { isTTY: true, columns: 80 } as NodeJS.WriteStream;
  expect(createStyle(terminal, {}).bold("x")).toBe("\x1b[1mx\x1b[22m");
  expect(createStyle(terminal, { NO_COLOR: "1" }).bold("x")).toBe("x");
  expect(createStyle({ isTTY: false } as NodeJS.WriteStream, {}).bold("x")).toBe("x");
});
