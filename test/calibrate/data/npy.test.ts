import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseNpy, readNpy } from "../../../src/calibrate/data/npy.ts";
import { npyBytes } from "./npy-bytes.ts";
import { temporaryFolder } from "./tokenizers.ts";

/** numpy.save of numpy.arange(6, dtype="<i4").reshape(2, 3), as NumPy 1.x writes it, byte for byte. */
const handWritten = Uint8Array.of(
  ...[0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 0x01, 0x00, 0x76, 0x00],
  ...new TextEncoder().encode(
    `${"{'descr': '<i4', 'fortran_order': False, 'shape': (2, 3), }".padEnd(117)}\n`,
  ),
  ...[0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 5, 0, 0, 0],
);

describe("parseNpy", () => {
  test("reads a hand-written file", () => {
    expect(handWritten.length).toBe(128 + 24);
    expect(parseNpy(handWritten, "x.npy")).toEqual({
      dtype: "int32",
      shape: [2, 3],
      data: Int32Array.of(0, 1, 2, 3, 4, 5),
    });
  });

  test("reads from the middle of a larger buffer", () => {
    const larger = new Uint8Array(handWritten.length + 3);
    larger.set(handWritten, 3);
    expect(parseNpy(larger.subarray(3), "x.npy").data).toEqual(Int32Array.of(0, 1, 2, 3, 4, 5));
  });

  test.each([1, 2, 3])("reads header version %i", (version) => {
    const bytes = npyBytes("<f8", [2], Float64Array.of(1.5, -2), { version });
    expect(parseNpy(bytes, "x.npy")).toEqual({
      dtype: "float64",
      shape: [2],
      data: Float64Array.of(1.5, -2),
    });
  });

  test.each([
    ["<f2", "float16", Uint16Array.of(0x3c00)],
    ["<f4", "float32", Float32Array.of(0.5)],
    ["<i8", "int64", BigInt64Array.of(-3n)],
    ["<u8", "uint64", BigUint64Array.of(3n)],
    ["<i2", "int16", Int16Array.of(-3)],
    ["<u2", "uint16", Uint16Array.of(3)],
    ["<u4", "uint32", Uint32Array.of(3)],
    ["|u1", "uint8", Uint8Array.of(255)],
    ["|i1", "int8", Int8Array.of(-1)],
    ["|b1", "bool", Uint8Array.of(1)],
  ] as const)("reads %s as %s", (descr, dtype, data) => {
    expect(parseNpy(npyBytes(descr, [1], data), "x.npy")).toEqual({ dtype, shape: [1], data });
  });

  test("reads scalars and empty arrays", () => {
    expect(parseNpy(npyBytes("<f4", [], Float32Array.of(2)), "x.npy").shape).toEqual([]);
    expect(parseNpy(npyBytes("<f4", [0, 4], new Float32Array(0)), "x.npy").shape).toEqual([0, 4]);
  });

  test("Fortran order gives the same elements as C order", () => {
    const dims = fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(dims, (shape) => {
        const count = shape.reduce((a, b) => a * b, 1);
        const rowMajor = Int32Array.from({ length: count }, (_, i) => i);
        const columnMajor = new Int32Array(count);
        for (let i = 0; i < count; i++) {
          let rest = i;
          let position = 0;
          for (let axis = shape.length - 1; axis >= 0; axis--) {
            const stride = shape.slice(0, axis).reduce((a, b) => a * b, 1);
            position += (rest % shape[axis]) * stride;
            rest = Math.floor(rest / shape[axis]);
          }
          columnMajor[position] = i;
        }
        const bytes = npyBytes("<i4", shape, columnMajor, { fortran: true });
        expect(parseNpy(bytes, "x.npy").data).toEqual(rowMajor);
      }),
    );
  });

  test("a size that differs by one byte either way is refused", () => {
    expect(() => parseNpy(handWritten.subarray(0, -1), "x.npy")).toThrow(
      /expected 24 bytes for <i4 \[2, 3\], got 23 bytes/,
    );
    expect(() => parseNpy(Uint8Array.of(...handWritten, 0), "x.npy")).toThrow("got 25 bytes");
  });

  test.each([
    [">f4", /got ">f4"/],
    ["<c8", /got "<c8"/],
    ["<U3", /got "<U3"/],
    ["constructor", /got "constructor"/],
  ])("refuses element type %s", (descr, message) => {
    expect(() => parseNpy(npyBytes(descr, [1], new Float32Array(1)), "x.npy")).toThrow(message);
  });

  test("refuses what is no .npy file, a later version, a structured type and an endless header", () => {
    expect(() => parseNpy(Uint8Array.of(1, 2, 3), "x.npy")).toThrow("NumPy signature");
    const later = handWritten.slice();
    later[6] = 4;
    expect(() => parseNpy(later, "x.npy")).toThrow("got 4.0");
    const structured = npyBytes("", [1], new Float32Array(1), { descr: "[('a', '<f4')]" });
    expect(() => parseNpy(structured, "x.npy")).toThrow("a plain element type");
    const endless = handWritten.slice();
    endless.set([0xff, 0xff], 8);
    expect(() => parseNpy(endless, "x.npy")).toThrow("got 65535 bytes");
  });

  test("any cut of a file is refused, never misread", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: handWritten.length - 1 }), (length) => {
        expect(() => parseNpy(handWritten.subarray(0, length), "x.npy")).toThrow("Cannot read");
      }),
    );
  });
});

test("readNpy names the file that is missing", async () => {
  const folder = await temporaryFolder();
  await writeFile(join(folder, "x.npy"), handWritten);
  expect((await readNpy(join(folder, "x.npy"))).shape).toEqual([2, 3]);
  await expect(readNpy(join(folder, "none.npy"))).rejects.toThrow(/none\.npy.*ENOENT/);
});
