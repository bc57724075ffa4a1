/**
 * Rows of a low-bit table as float32: the lookup of an embedding. It reads the same packed panels as the products, so
 * a table that is also the output layer is held once.
 *
 *   C[i, k] = s · (code − z) of row ids[i]
 *
 * A row of the table is a column of a panel: of each vector of a chunk it is one 32-bit lane, so reading is strided by
 * the width of the panel. Cost: O(K) per id.
 */
import { f32, f32x4, f64, i32, i32x4, memory, select, v128 } from "../assembler/index.ts";
import { defineKernel, type Kernel, type KernelCode } from "../kernel.ts";
import { arithmetics, widenedLow } from "./arithmetic.ts";
import { codeExtraction } from "./codes.ts";
import { type KernelFormat, panelLayout } from "./layout.ts";

export const gatherFields = {
  /** float64 [count]: rows of the table; negative ones count from the end. */
  ids: "i32",
  weights: "i32",
  panelBytes: "i32",
  /** float32 [count, k] */
  output: "i32",
  n: "i32",
  k: "i32",
  blocks: "i32",
  block: "i32",
} as const;

/** Ids outside the table give a row of NaN: a kernel cannot throw, and must not read elsewhere. */
export function gatherKernel(format: KernelFormat): Kernel<typeof gatherFields> {
  const { arithmetic, columns } = panelLayout(format);
  const weight = `${format.symmetric ? "qb" : "qz"}${format.bits}w`;
  return defineKernel({
    // The panel depends on the activations of the products that share it.
    name: `f64-f32-${weight}-gather-1x${columns}c${arithmetic.codesPerLane}-simd128`,
    isa: "simd128",
    fields: gatherFields,
    item: "id",
    scratchBytes: ({ blocks, block }) => 4 * blocks * block,
    build: (code) => build(code, format),
  });
}

function build(code: KernelCode<typeof gatherFields>, format: KernelFormat): void {
  const panel = panelLayout(format);
  const arithmetic = arithmetics[format.activation];
  const { n, k, blocks, block, output, ids, weights, panelBytes } = code.fields;
  const extraction = codeExtraction(code, panel);
  const words = code.locals(panel.bitLayout.words, "v128");
  const scale = code.local("v128");
  const zeroPoint = code.local("v128", f32x4.splat(f32.const(2 ** (format.bits - 1))));
  const chunks = code.local("i32", i32.div_u(block, i32.const(panel.chunk)));
  const scalesAt = i32.mul(chunks, i32.const(panel.chunkBytes));
  const row = code.local("i32");
  const item = code.local("i32", code.begin);
  const rowBytes = code.local("i32", i32.mul(k, i32.const(4)));
  code.for(item, code.end, 1, () => {
    const to = code.local("i32", i32.add(output, i32.mul(item, rowBytes)));
    row.set(i32.trunc_sat_f64_s(f64.load(i32.add(ids, i32.mul(item, i32.const(8))))));
    row.set(select(i32.add(row, n), row, i32.lt_s(row, i32.const(0))));
    code.if(
      i32.lt_u(row, n),
      () => {
        const column = code.local("i32", i32.rem_u(row, i32.const(panel.columns)));
        const panelIndex = i32.div_u(row, i32.const(panel.columns));
        const from = code.local("i32", i32.add(weights, i32.mul(panelIndex, panelBytes)));
        // Where the column's lane lies in the first vector of a chunk; quads follow each other.
        const quadBytes = i32.mul(
          i32.div_u(column, i32.const(4)),
          i32.const(16 * panel.bitLayout.words),
        );
        const laneBytes = i32.mul(i32.rem_u(column, i32.const(4)), i32.const(4));
        const lane = code.local("i32", i32.add(quadBytes, laneBytes));
        const unpacked = code.local("i32", code.scratch);
        code.repeat(blocks, () => {
          if (!format.symmetric) {
            const stored = i32.load8_u(i32.add(from, column));
            zeroPoint.set(f32x4.splat(f32.convert_i32_s(stored)));
            code.advance(from, panel.zeroPointBytes);
          }
          const scaleAt = i32.add(i32.add(from, scalesAt), i32.mul(column, i32.const(4)));
          scale.set(v128.load32_splat(scaleAt));
          code.repeat(chunks, () => {
            const at = code.local("i32", i32.add(from, lane));
            for (const [word, local] of words.entries()) {
              local.set(v128.load32_zero(at, 16 * word));
            }
            for (let index = 0; index < panel.bitLayout.codes.length; index++) {
              const codes = widenedLow(arithmetic, extraction.code(index, words));
              const values = f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_u(codes));
              const weight = f32x4.mul(f32x4.sub(values, zeroPoint), scale);
              const offset = 4 * arithmetic.codesPerLane * index;
              code.do(
                arithmetic.codesPerLane === 4
                  ? v128.store(unpacked, weight, offset)
                  : v128.store64_lane(unpacked, weight, 0, offset),
              );
            }
            code.advance(unpacked, 4 * panel.chunk);
            code.advance(from, panel.chunkBytes);
          });
          code.advance(from, panel.scaleBytes);
        });
        code.do(memory.copy(to, code.scratch, rowBytes));
      },
      () => code.do(memory.fill(to, i32.const(0xff), rowBytes)),
    );
  });
}
