/**
 * The product of one row of activations with a low-bit matrix, the kernel of token-by-token generation.
 *
 *   C[n] = Σ_spans a_span · Σ_blocks s_block · (Σ q · code − z Σ q)  + bias[n]
 *
 * Codes go from memory into the dot product without an unpacked copy: a vector holds 4 columns × 4 (int16: 2) k, so a
 * shift and a mask give operands whose partial sums need no exchange of lanes. Every weight is read once, front to
 * back; with weights beyond the cache the speed is that of the memory.
 * Cost: N · K multiply-adds, N · K · bits / 8 bytes. For M ≥ 2 the GEMM unpacks once for all rows.
 *
 * Registers: `quads` accumulators of the block (int32; twice as many where codes are taken in pairs), as many of the
 * span (float32), the words of one chunk, one vector of activations, the masks. The sums over spans lie in scratch
 * memory.
 */
import { f32x4, i32, i32x4, v128 } from "../assembler/index.ts";
import { defineKernel, type Kernel, type KernelCode } from "../kernel.ts";
import type { ActivationType } from "./arithmetic.ts";
import { codeExtraction } from "./codes.ts";
import { type KernelFormat, panelLayout, spanSize } from "./layout.ts";
import { kernelName } from "./name.ts";
import { writeOffsets } from "./offsets.ts";
import { writeColumns } from "./output.ts";
import { minimum } from "./tiles.ts";
import { zeroPointVectors } from "./zero-points.ts";

export const gemvFields = {
  /** The activation buffer of one row. */
  codes: "i32",
  sums: "i32",
  scales: "i32",
  /** Packed weights; panel p starts at `weights + p · panelBytes`. */
  weights: "i32",
  panelBytes: "i32",
  /** float32 [n], or 0 for none. */
  bias: "i32",
  /** float32 [n] */
  output: "i32",
  n: "i32",
  /** Blocks of the row and K per block. */
  blocks: "i32",
  block: "i32",
} as const;

/** k per turn of the innermost loop: shorter turns pay for the loop, longer ones spill on Node 20. */
const turnSize: Readonly<Record<ActivationType, number>> = { int8: 16, int16: 8 };
const spanScratch = 256;

/**
 * Codes of up to 5 bits stay where they lie in pairs: the upper code of a pair is 2^bits times too large, has sums of
 * its own, and these are shifted down once per block. That saves a shift per pair. The sums stay below 2^31: of 128
 * codes of 5 bits 40 are raised, 32767 · 31 · 32 · 40 = 1.3e9; 6 bits would overflow. K 2048, N 5632, Zen 5, Node 20,
 * GOP/s: 2 bits 59 -> 64, 3 bits 54 -> 57, 4 bits 64 -> 66, 5 bits 48 -> 51. The int8 kernels have no registers for more
 * sums (3 bits, Node 24: 118 -> 99).
 */
const takesPairs = ({ bits, activation }: KernelFormat): boolean =>
  activation === "int16" && bits <= 5;

export function gemvKernel(format: KernelFormat): Kernel<typeof gemvFields> {
  const { arithmetic, columns } = panelLayout(format);
  return defineKernel({
    name: kernelName(format, "gemv", `1x${columns}c${arithmetic.codesPerLane}`),
    isa: arithmetic.isa,
    fields: gemvFields,
    item: `panel of ${columns} columns`,
    scratchBytes: ({ blocks }) => spanScratch + 4 * blocks,
    build: (code) => build(code, format),
  });
}

function build(code: KernelCode<typeof gemvFields>, format: KernelFormat): void {
  const panel = panelLayout(format);
  const { arithmetic, bitLayout, quads, chunk } = panel;
  const { codes, sums, scales, weights, panelBytes, blocks, block } = code.fields;
  const quadRange = Array.from({ length: quads }, (_, at) => at);
  const chunks = Math.max(1, turnSize[format.activation] / chunk);
  const extraction = codeExtraction(code, panel, takesPairs(format));
  const turns = code.local("i32", i32.div_u(block, i32.const(chunk * chunks)));
  const blocksPerSpan = code.local("i32", i32.div_u(i32.const(spanSize), block));
  const spanSums = code.scratch;
  const offsets = code.local("i32", i32.add(code.scratch, i32.const(spanScratch)));
  writeOffsets(code, {
    sums,
    into: offsets,
    blocks,
    height: i32.const(1),
    heightBytes: code.local("i32", i32.const(4)),
    blockStride: code.local("i32", i32.div_u(block, i32.const(4))),
    factor: format.symmetric ? 2 ** (format.bits - 1) : undefined,
  });
  const inBlock = code.locals(quads, "v128");
  const raised = code.locals(takesPairs(format) ? quads : 0, "v128");
  const inSpan = code.locals(quads, "v128");
  // Activations are loaded once for all quads, unless the words of all quads would not fit the registers.
  const isTight = format.bits === 5 || (format.bits === 6 && format.activation === "int8");
  const quadGroups = isTight ? quadRange.map((quad) => [quad]) : [quadRange];
  // Node 20 moves the shifts of a long straight run of code to its start and spills; a spilled vector that happens to
  // cross a page costs half the speed. Short runs keep everything in registers (6 bits: 52 -> 56 GOP/s).
  const isSplit = format.activation === "int16" && bitLayout.codes.length > 4;
  const codesPerRun = isSplit ? 2 : bitLayout.codes.length;
  const inRuns = (body: (index: number) => void) => {
    for (let first = 0; first < bitLayout.codes.length; first += codesPerRun) {
      const run = () => {
        const end = Math.min(first + codesPerRun, bitLayout.codes.length);
        for (let index = first; index < end; index++) body(index);
      };
      // The condition always holds, which the compiler does not know.
      if (isSplit) code.if(turns, run);
      else run();
    }
  };
  const words = quadRange.map(() => code.locals(bitLayout.words, "v128"));
  const activations = code.local("v128");
  const from = code.local("i32");
  const activation = code.local("i32");
  const offset = code.local("i32");
  const scale = code.local("i32");
  const left = code.local("i32");
  const inThisSpan = code.local("i32");

  const item = code.local("i32", code.begin);
  code.for(item, code.end, 1, () => {
    from.set(i32.add(weights, i32.mul(item, panelBytes)));
    activation.set(codes);
    offset.set(offsets);
    scale.set(scales);
    left.set(blocks);
    for (const quad of quadRange) code.do(v128.store(spanSums, v128.zero(), 16 * quad));
    code.while(i32.gt_s(left, i32.const(0)), () => {
      for (const sum of inSpan) sum.set(v128.zero());
      inThisSpan.set(minimum(left, blocksPerSpan));
      left.set(i32.sub(left, inThisSpan));
      code.repeat(inThisSpan, () => {
        const start = v128.load32_splat(offset);
        if (format.symmetric) {
          inBlock[0].set(start);
          for (const sum of inBlock.slice(1)) sum.set(inBlock[0]);
        } else {
          activations.set(start);
          for (const [quad, zeroPoints] of zeroPointVectors(code, from, quads).entries()) {
            inBlock[quad].set(arithmetic.correction(zeroPoints, activations));
          }
          code.advance(from, panel.zeroPointBytes);
        }
        for (const sum of raised) sum.set(v128.zero());
        code.advance(offset, 4);
        code.repeat(turns, () => {
          for (let at = 0; at < chunks; at++) {
            for (const group of quadGroups) {
              for (const quad of group) {
                for (const [word, local] of words[quad].entries()) {
                  const index = (at * quads + quad) * bitLayout.words + word;
                  local.set(v128.load(from, 16 * index));
                }
              }
              inRuns((index) => {
                const lane = at * bitLayout.codes.length + index;
                activations.set(v128.load32_splat(activation, 4 * lane));
                for (const quad of group) {
                  const operand = extraction.code(index, words[quad]);
                  const sum = extraction.isRaised(index) ? raised[quad] : inBlock[quad];
                  sum.set(arithmetic.dot(activations, operand, sum));
                }
              });
            }
          }
          code.advance(from, chunks * panel.chunkBytes);
          code.advance(activation, 4 * chunks * bitLayout.codes.length);
        });
        for (const quad of quadRange) {
          const whole = takesPairs(format)
            ? i32x4.add(inBlock[quad], i32x4.shr_s(raised[quad], format.bits))
            : inBlock[quad];
          const sum = f32x4.convert_i32x4_s(whole);
          const blockScales = v128.load(from, 16 * quad);
          inSpan[quad].set(arithmetic.multiplyAdd(sum, blockScales, inSpan[quad]));
        }
        code.advance(from, panel.scaleBytes);
      });
      activations.set(v128.load32_splat(scale));
      code.advance(scale, 4);
      // All loads before all stores: a compiler that joins pairs of vectors (V8's revectorizer) needs them together.
      const before = quadRange.map((quad) => code.local("v128", v128.load(spanSums, 16 * quad)));
      for (const quad of quadRange) {
        const after = arithmetic.multiplyAdd(inSpan[quad], activations, before[quad]);
        code.do(v128.store(spanSums, after, 16 * quad));
      }
    });
    writeColumns(code, { sums: spanSums, to: code.fields.output, item, columns: panel.columns });
  });
}
