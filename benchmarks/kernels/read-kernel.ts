/**
 * Reads memory as fast as this engine can: the roofline of a product whose weights lie beyond the cache.
 */
import { i32, i32x4, v128 } from "../../native/assembler/index.ts";
import { defineKernel } from "../../native/kernel.ts";

export const readItemBytes = 4096;

/** Items are runs of 4096 bytes; the sum of all 32-bit words goes to `sink` so that no load is dropped. */
export const readKernel = defineKernel({
  name: "read-simd128",
  isa: "simd128",
  fields: { from: "i32", sink: "i32" },
  item: "4096 bytes",
  build(code) {
    const sums = code.locals(4, "v128");
    const items = i32.mul(code.begin, i32.const(readItemBytes));
    const at = code.local("i32", i32.add(code.fields.from, items));
    code.repeat(i32.sub(code.end, code.begin), () => {
      code.repeat(readItemBytes / 128, () => {
        for (let i = 0; i < 8; i++) {
          sums[i % 4].set(i32x4.add(sums[i % 4], v128.load(at, 16 * i)));
        }
        code.advance(at, 128);
      });
    });
    const total = i32x4.add(i32x4.add(sums[0], sums[1]), i32x4.add(sums[2], sums[3]));
    code.do(v128.store(code.fields.sink, total));
  },
});
