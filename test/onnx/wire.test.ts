import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isBitloomError } from "../../src/core/errors.ts";
import { attribute, editModel, encodeModel, openModel } from "../../src/onnx/index.ts";
import { memorySource } from "../../src/onnx/source.ts";
import {
  contentOf,
  countVarints,
  integersOf,
  readRecords,
  readVarint,
  type WireRecord,
} from "../../src/onnx/wire.ts";
import { graph } from "../support/graph-builder.ts";
import { message, packed, varint } from "./raw-message.ts";

const fieldNumber = fc.integer({ min: 1, max: 2 ** 29 - 1 });
const field = fc.oneof(
  fc.record({
    kind: fc.constant("varint" as const),
    field: fieldNumber,
    value: fc.maxSafeInteger(),
  }),
  fc.record({ kind: fc.constant("fixed32" as const), field: fieldNumber, value: fc.nat() }),
  fc.record({ kind: fc.constant("double" as const), field: fieldNumber, value: fc.double() }),
  fc.record({
    kind: fc.constant("bytes" as const),
    field: fieldNumber,
    value: fc.uint8Array({ maxLength: 9000 }),
  }),
);

/** A field as the protobuf documentation writes it, by arithmetic on big integers. */
function encoded(item: typeof field extends fc.Arbitrary<infer T> ? T : never): number[] {
  const key = (wireType: number): number[] => varint(8 * item.field + wireType);
  if (item.kind === "varint") return [...key(0), ...varint(item.value)];
  if (item.kind === "fixed32")
    return [...key(5), ...new Uint8Array(Uint32Array.of(item.value).buffer)];
  if (item.kind === "double")
    return [...key(1), ...new Uint8Array(Float64Array.of(item.value).buffer)];
  return [...key(2), ...varint(item.value.length), ...item.value];
}

const recordsOf = (bytes: Uint8Array): WireRecord[] => [
  ...readRecords(memorySource(bytes), 0, bytes.length),
];

describe("records", () => {
  test("index exactly what was written, and tile the file", () => {
    fc.assert(
      fc.property(fc.array(field), (fields) => {
        const bytes = Uint8Array.from(fields.flatMap(encoded));
        const records = recordsOf(bytes);
        expect(records.map((record) => record.field)).toEqual(fields.map((item) => item.field));
        let end = 0;
        records.forEach((record, index) => {
          expect(record.start).toBe(end);
          end = record.end;
          const item = fields[index];
          if (item.kind === "varint") expect(record.value).toBe(item.value);
          if (item.kind === "bytes") expect(contentOf(record)).toEqual(item.value);
        });
        expect(end).toBe(bytes.length);
      }),
    );
  });

  test("every 64-bit integer reads as its two halves", () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), (value) => {
        const read = readVarint(Uint8Array.from(varint(value)), 0);
        expect(read && BigInt(read.high) * 2n ** 32n + BigInt(read.low)).toBe(value);
      }),
    );
  });

  test("packed and single integers read the same, across window borders", () => {
    const values = Array.from({ length: 5000 }, (_, i) => (i % 3 ? i * 7919 : 1 - i));
    const [whole] = recordsOf(message([7, packed(values)]));
    const single = recordsOf(message(...values.map((value) => [7, value] as const)));
    expect([...integersOf(whole)]).toEqual(values);
    expect(single.flatMap((record) => [...integersOf(record)])).toEqual(values);
    expect(countVarints(whole)).toBe(values.length);
  });
});

describe("no bytes make the reader fail in any other way than bad-model", async () => {
  const body = graph().input("x", "float32").node("Neg", ["x"], ["n"]).output("n").model();
  const valid = await graph()
    .input("x", "float32", ["batch", 2])
    .input("c", "bool", [])
    .initializer("w", [2, 2], new Float32Array(4))
    .node("MatMul", ["x", "w"], ["h"], { a: attribute.ints([1, 2]), s: attribute.str("text") })
    .node("If", ["c"], ["y"], { then_branch: attribute.subgraph(body, ["x"]) })
    .output("y", "float32", [2])
    .bytes();

  async function check(bytes: Uint8Array): Promise<void> {
    const error = await readAll(bytes).then(
      () => undefined,
      (reason: unknown) => reason,
    );
    if (error !== undefined && !isBitloomError(error, "bad-model")) throw error;
  }

  async function readAll(bytes: Uint8Array): Promise<void> {
    const model = await openModel(bytes);
    for (const { attributes } of model.graph.nodes) attributes.size;
    for (const tensor of model.graph.initializers.values()) {
      if (tensor.dtype !== "string") await tensor.bytes();
    }
    await encodeModel(editModel(model).commit());
    model.metadata.size;
  }

  test("random bytes", () =>
    fc.assert(fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), check), { numRuns: 500 }));

  test("a valid model with some bytes changed", async () => {
    await check(valid);
    const change = fc.tuple(fc.nat(valid.length - 1), fc.nat(255));
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 3 }), (changes) => {
        const damaged = valid.slice();
        for (const [at, byte] of changes) damaged[at] = byte;
        return check(damaged);
      }),
      { numRuns: 2000 },
    );
  });
});
