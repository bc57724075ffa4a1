import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { memorySource } from "../../src/onnx/source.ts";
import { readRecords, textOf, type WireRecord } from "../../src/onnx/wire.ts";
import { WireWriter } from "../../src/onnx/wire-writer.ts";
import { varint } from "./raw-message.ts";

const fieldNumber = fc.integer({ min: 1, max: 2 ** 29 - 1 });
const recordsOf = (bytes: Uint8Array): WireRecord[] => [
  ...readRecords(memorySource(bytes), 0, bytes.length),
];

describe("int64", () => {
  const written = (value: number): number[] => [...new WireWriter().int64(value).finish()];

  test("every double that is an int64 gives the bytes of its two's complement", () => {
    const powers = fc
      .tuple(fc.integer({ min: 0, max: 62 }), fc.integer({ min: -2, max: 2 }))
      .map(([exponent, offset]) => 2 ** exponent + offset);
    const values = fc.oneof(
      fc.maxSafeInteger(),
      powers,
      fc.double({ noNaN: true }).map(Math.trunc),
    );
    fc.assert(
      fc.property(values, fc.boolean(), (magnitude, negative) => {
        const value = negative ? -magnitude : magnitude;
        fc.pre(value >= -(2 ** 63) && value < 2 ** 63);
        expect(written(value)).toEqual(varint(BigInt(value)));
      }),
      { numRuns: 2000 },
    );
  });

  test.each([
    [2 ** 63, 2n ** 63n - 1n],
    [Number.POSITIVE_INFINITY, 2n ** 63n - 1n],
    [-(2 ** 63), -(2n ** 63n)],
    [-(2 ** 64), -(2n ** 63n)],
    [Number.NEGATIVE_INFINITY, -(2n ** 63n)],
    [Number.NaN, 0n],
    [-0, 0n],
    [2.9, 2n],
    [-2.9, -2n],
    [-0.5, 0n],
    [-(2 ** 32), -(2n ** 32n)],
  ])("%d is written as %s", (value, expected) => {
    expect(written(value)).toEqual(varint(expected));
  });
});

describe("fields", () => {
  test("tags carry every field number and wire type", () => {
    fc.assert(
      fc.property(fieldNumber, fc.constantFrom(0, 1, 2, 5), (field, wireType) => {
        const bytes = new WireWriter().tag(field, wireType as 0 | 1 | 2 | 5).finish();
        expect([...bytes]).toEqual(varint(BigInt(field) * 8n + BigInt(wireType)));
      }),
    );
  });

  test("floats are float32, little-endian", () => {
    fc.assert(
      fc.property(fc.double(), (value) => {
        const bytes = new WireWriter().float(value).finish();
        expect(bytes).toEqual(new Uint8Array(Float32Array.of(value).buffer));
      }),
    );
  });

  test("texts and numbers of any length follow each other and read back", () => {
    const text = fc.string({ unit: "binary", maxLength: 300 });
    fc.assert(
      fc.property(fc.array(fc.tuple(fieldNumber, text, fc.maxSafeInteger())), (fields) => {
        const writer = new WireWriter();
        for (const [field, value, number] of fields) {
          writer.tag(field, 2).string(value).tag(field, 0).int64(number);
        }
        const records = recordsOf(writer.finish());
        expect(records.length).toBe(2 * fields.length);
        fields.forEach(([field, value, number], i) => {
          const [first, second] = [records[2 * i], records[2 * i + 1]];
          expect([first.field, textOf(first)]).toEqual([field, value]);
          expect([second.field, second.value]).toEqual([field, number]);
        });
      }),
    );
  });

  test("half a surrogate pair is written as U+FFFD, so that the file stays valid UTF-8", () => {
    const [record] = recordsOf(new WireWriter().tag(1, 2).string("a\ud800b").finish());
    expect(textOf(record)).toBe("a\ufffdb");
  });

  test("finish hands out a copy", () => {
    const writer = new WireWriter().int64(1);
    const first = writer.finish();
    writer.int64(2);
    expect([[...first], [...writer.finish()]]).toEqual([[1], [1, 2]]);
  });
});
