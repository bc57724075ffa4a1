import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { packCodes, unpackCodes } from "../../src/core/packing.ts";
import { bytesOf, type DType, dtypes, tensorBytes } from "../../src/core/tensor.ts";
import { lazyTensor, memoryTensor, openModel, readInts } from "../../src/onnx/index.ts";
import { graph } from "../support/graph-builder.ts";
import { entry, type Field, modelProto, packed, tensorProto } from "./raw-message.ts";

const folder = await mkdtemp(join(tmpdir(), "bitloom-tensor-"));
afterAll(() => rm(folder, { recursive: true }));

const shape = [3, 5];
const count = 15;
const numeric = (Object.keys(dtypes) as DType[]).filter((dtype) => dtype !== "string");

/** The typed field of onnx.proto and its content for dense bytes. */
function typedData(dtype: DType, bytes: Uint8Array): Field {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (dtype === "float32" || dtype === "complex64") return [4, bytes];
  if (dtype === "float64" || dtype === "complex128") return [10, bytes];
  if (dtypes[dtype].bits === 6) {
    return [5, packed([...unpackCodes(bytes, 1, count, 6, count)])];
  }
  const width = Math.max(1, dtypes[dtype].bits / 8);
  const values = Array.from({ length: bytes.length / width }, (_, i) => {
    const at = i * width;
    if (dtype === "int64") return view.getBigInt64(at, true);
    if (width === 8) return view.getBigUint64(at, true);
    if (dtype === "int32") return view.getInt32(at, true);
    if (width === 4) return view.getUint32(at, true);
    if (dtype === "int16") return view.getInt16(at, true);
    if (width === 2) return view.getUint16(at, true);
    return dtype === "int8" ? view.getInt8(at) : view.getUint8(at);
  });
  if (dtype === "int64") return [7, packed(values)];
  if (dtype === "uint32" || dtype === "uint64") return [11, packed(values)];
  return [5, packed(values)];
}

describe.each(numeric)("%s", (dtype) => {
  const byteLength = tensorBytes(dtype, shape);
  const pattern = Uint8Array.from({ length: byteLength }, (_, i) => (i * 83 + 7) % 256);
  // 15 elements of 6 bits leave 6 bits of padding, which are zero.
  const bytes =
    dtypes[dtype].bits === 6
      ? packCodes(unpackCodes(pattern, 1, count, 6, count), 1, count, 6, count)
      : pattern;

  test("inline, typed and external data read the same", async () => {
    await writeFile(join(folder, `${dtype}.data`), Buffer.concat([new Uint8Array(64), bytes]));
    const file = modelProto(
      [5, tensorProto("raw", dtypes[dtype].code, shape, [9, bytes])],
      [5, tensorProto("typed", dtypes[dtype].code, shape, typedData(dtype, bytes))],
      [
        5,
        tensorProto(
          "external",
          dtypes[dtype].code,
          shape,
          [13, entry("location", `${dtype}.data`)],
          [13, entry("offset", "64")],
          [14, 1],
        ),
      ],
    );
    const path = join(folder, `${dtype}.onnx`);
    await writeFile(path, file);
    const model = await openModel(path);
    expect(model.fileBytes).toBe(file.length + 64 + byteLength);
    for (const name of ["raw", "typed", "external"]) {
      const tensor = model.graph.initializers.get(name);
      expect(tensor).toMatchObject({ name, dtype, shape, byteLength });
      expect(await tensor?.bytes()).toEqual(bytes);
    }
  });

  test("read bytes are a copy of their own", async () => {
    const model = await openModel(
      modelProto([5, tensorProto("w", dtypes[dtype].code, shape, [9, bytes])]),
    );
    const tensor = model.graph.initializers.get("w");
    (await tensor?.bytes())?.fill(0);
    expect(await tensor?.bytes()).toEqual(bytes);
  });
});

test("unpacked typed data reads like packed", async () => {
  const singles = [3, -4, 500].map((value): Field => [7, value]);
  const model = await openModel(modelProto([5, tensorProto("w", 7, [3], ...singles)]));
  const tensor = model.graph.initializers.get("w");
  expect(tensor && (await readInts(tensor))).toEqual([3, -4, 500]);
});

test("strings keep their record, but have no dense bytes", async () => {
  const model = await openModel(modelProto([5, tensorProto("s", 8, [2], [6, "ab"], [6, "cde"])]));
  const tensor = model.graph.initializers.get("s");
  expect(tensor).toMatchObject({ dtype: "string", shape: [2], byteLength: 5 });
  await expect(tensor?.bytes()).rejects.toMatchObject({ code: "unsupported" });
});

test("empty and scalar tensors", async () => {
  const model = await openModel(
    modelProto(
      [5, tensorProto("e", 1, [0, 4])],
      [5, tensorProto("s", 1, [], [9, new Uint8Array(4)])],
    ),
  );
  expect(await model.graph.initializers.get("e")?.bytes()).toEqual(new Uint8Array(0));
  expect(model.graph.initializers.get("s")).toMatchObject({ shape: [], byteLength: 4 });
});

describe("readInts", () => {
  test("reads every integer width, with sign", async () => {
    const read = (dtype: DType, data: ArrayBufferView) =>
      readInts(memoryTensor("t", dtype, [2], data));
    expect(await read("int8", Int8Array.of(-1, 2))).toEqual([-1, 2]);
    expect(await read("uint8", Uint8Array.of(255, 2))).toEqual([255, 2]);
    expect(await read("int16", Int16Array.of(-300, 2))).toEqual([-300, 2]);
    expect(await read("uint16", Uint16Array.of(65535, 2))).toEqual([65535, 2]);
    expect(await read("int32", Int32Array.of(-70000, 2))).toEqual([-70000, 2]);
    expect(await read("uint32", Uint32Array.of(2 ** 32 - 1, 2))).toEqual([2 ** 32 - 1, 2]);
    expect(await read("int64", BigInt64Array.of(-5n, 2n ** 40n))).toEqual([-5, 2 ** 40]);
    expect(await read("uint64", BigUint64Array.of(5n, 2n ** 40n))).toEqual([5, 2 ** 40]);
  });

  test("refuses floats", async () => {
    const tensor = memoryTensor("t", "float32", [1], Float32Array.of(1));
    await expect(readInts(tensor)).rejects.toMatchObject({ code: "unsupported" });
  });
});

test("memoryTensor refuses data of another size", () => {
  expect(() => memoryTensor("t", "float32", [2], Float32Array.of(1))).toThrow(
    /needs 8 bytes, got 4/,
  );
});

test("a lazy tensor of the wrong length is refused when written", async () => {
  const tensor = lazyTensor("w", "float32", [2], async () => new Uint8Array(4));
  await expect(graph().tensor(tensor).output("w").bytes()).rejects.toMatchObject({
    code: "output",
  });
});

test("memory tensors encode and reopen", async () => {
  const data = Float32Array.of(1, -2, 3.5);
  const reopened = await openModel(await graph().initializer("w", [3], data).output("w").bytes());
  expect(await reopened.graph.initializers.get("w")?.bytes()).toEqual(bytesOf(data));
});
