/**
 * The product of many rows of activations with a low-bit matrix.
 *
 * A panel is unpacked slab by slab (K of 1024) into scratch memory; then every row tile passes over it. Unpacking is
 * paid once per panel and 128-odd rows, and both operands of the inner loop are in the first-level cache.
 * Items are (group of row tiles, panel) pairs, panels fastest: threads share the columns, and with many rows or few
 * panels the rows as well. Scratch memory does not grow with M.
 * Cost: M · N · K multiply-adds; N · K · bits / 8 bytes per group of tiles.
 */
import { i32, type Local, memory } from "../assembler/index.ts";
import { defineKernel, type Kernel, type KernelCode } from "../kernel.ts";
import type { ActivationType } from "./arithmetic.ts";
import { type KernelFormat, panelLayout, spanSize } from "./layout.ts";
import { kernelName } from "./name.ts";
import { writeOffsets } from "./offsets.ts";
import { writeColumns } from "./output.ts";
import { type Correction, tileArguments, tileFunctions } from "./tile.ts";
import { firstRow, minimum, tileOf } from "./tiles.ts";
import { slabLayout, slabSize, unpackSlab } from "./unpack.ts";

export const gemmFields = {
  /** The activation buffer; see `activationLayout`. */
  codes: "i32",
  sums: "i32",
  scales: "i32",
  spans: "i32",
  /** Row tiles: rows of the lower ones, number of those with one more, number of all, number per item. */
  rows: "i32",
  tallTiles: "i32",
  tiles: "i32",
  tilesPerItem: "i32",
  /** Packed weights; panel p starts at `weights + p · panelBytes`. */
  weights: "i32",
  panelBytes: "i32",
  panels: "i32",
  /** float32 [n], or 0 for none. */
  bias: "i32",
  /** float32 [M, n] */
  output: "i32",
  n: "i32",
  /** Blocks of a row and K per block. */
  blocks: "i32",
  block: "i32",
} as const;
type Code = KernelCode<typeof gemmFields>;

/** The most tiles of one item: about 128 rows, over which unpacking costs a few percent. */
export const mostTilesPerItem: Readonly<Record<ActivationType, number>> = { int8: 24, int16: 32 };
const spanSumBytes = 256;

export function gemmKernel(format: KernelFormat): Kernel<typeof gemmFields> {
  const panel = panelLayout(format);
  const { arithmetic } = panel;
  const tile = `${arithmetic.tileRows}x8c${arithmetic.codesPerLane}`;
  return defineKernel({
    name: kernelName(format, "gemm", tile),
    isa: arithmetic.isa,
    fields: gemmFields,
    item: `row tiles × panel of ${panel.columns} columns`,
    scratchBytes: ({ tilesPerItem, blocks }) =>
      scratchLayout(format).sums +
      tilesPerItem * arithmetic.tileRows * (4 * panel.columns + 4 * blocks),
    build: (code) => build(code, format),
  });
}

/** Offsets in the scratch memory: span sums, slab, sums of all rows, zero-point offsets of all rows. */
function scratchLayout(format: KernelFormat) {
  const slab = spanSumBytes;
  return { slab, sums: slab + slabLayout(panelLayout(format)).bytes };
}

function build(code: Code, format: KernelFormat): void {
  const panel = panelLayout(format);
  const { arithmetic, columns } = panel;
  const { spans, tiles, tilesPerItem, panels, n, blocks, block } = code.fields;
  const correction = correctionOf(format);
  const layout = slabLayout(panel);
  const scratch = scratchLayout(format);
  const rowBytes = 4 * columns;
  const slab = code.local("i32", i32.add(code.scratch, i32.const(scratch.slab)));
  const sums = code.local("i32", i32.add(code.scratch, i32.const(scratch.sums)));
  const offsets = code.local("i32");
  const blocksPerSpan = code.local("i32", i32.div_u(i32.const(spanSize), block));
  const blocksPerSlab = code.local("i32", i32.div_u(i32.const(slabSize), block));
  const lanesPerBlock = code.local("i32", i32.div_u(block, i32.const(arithmetic.codesPerLane)));
  const from = code.local("i32");
  const done = code.local("i32");
  const inThisSlab = code.local("i32");
  const tile = code.local("i32");
  const prepared = code.local("i32", i32.const(-1));

  const item = code.local("i32", code.begin);
  code.for(item, code.end, 1, () => {
    const group = code.local("i32", i32.div_u(item, panels));
    const panelIndex = code.local("i32", i32.rem_u(item, panels));
    const firstTile = code.local("i32", i32.mul(group, tilesPerItem));
    const endTile = code.local("i32", minimum(i32.add(firstTile, tilesPerItem), tiles));
    const begin = code.local("i32", firstRow(code, firstTile));
    const height = code.local("i32", i32.sub(firstRow(code, endTile), begin));
    offsets.set(i32.add(sums, i32.mul(height, i32.const(rowBytes))));
    if (correction !== "none") {
      code.if(i32.ne(prepared, group), () => {
        prepareOffsets(code, { format, firstTile, endTile, begin, offsets });
        prepared.set(group);
      });
    }
    code.do(memory.fill(sums, i32.const(0), i32.mul(height, i32.const(rowBytes))));
    from.set(i32.add(code.fields.weights, i32.mul(panelIndex, code.fields.panelBytes)));
    done.set(i32.const(0));
    code.while(i32.lt_s(done, blocks), () => {
      inThisSlab.set(minimum(blocksPerSlab, i32.sub(blocks, done)));
      unpackSlab(code, format, { from, slab, blocks: inThisSlab, block });
      tile.set(firstTile);
      code.for(tile, endTile, 1, () => {
        const { row, height: tileHeight } = tileOf(code, tile);
        const inItem = code.local("i32", i32.sub(row, begin));
        const firstK = i32.mul(done, block);
        const firstSpan = i32.div_u(done, blocksPerSpan);
        // Everything before this tile and, in it, before this slab, in units of one row.
        const at = (perRow: typeof firstK, before: typeof firstK, index: Local<"i32">) =>
          i32.add(i32.mul(index, perRow), i32.mul(tileHeight, before));
        const lanes = at(
          i32.mul(spans, i32.const(spanSize / arithmetic.codesPerLane)),
          i32.div_u(firstK, i32.const(arithmetic.codesPerLane)),
          row,
        );
        const quarters = (base: Local<"i32">, index: typeof firstK) =>
          code.local("i32", i32.add(base, i32.mul(index, i32.const(4))));
        const activations = quarters(code.fields.codes, lanes);
        const activationScales = quarters(code.fields.scales, at(spans, firstSpan, row));
        const tileOffsets = quarters(offsets, at(blocks, done, inItem));
        const tileSums = i32.add(sums, i32.mul(inItem, i32.const(rowBytes)));
        for (let half = 0; half < layout.halves; half++) {
          const inSlab = (offset: number) => i32.add(slab, i32.const(offset));
          const operands = tileArguments({
            activations,
            activationScales,
            offsets: tileOffsets,
            codes: inSlab(layout.codes + half * layout.halfBytes),
            scales: inSlab(layout.scales + half * layout.halfScaleBytes),
            zeroPoints: inSlab(layout.zeroPoints + half * layout.halfScaleBytes),
            sums: i32.add(tileSums, i32.const(32 * half)),
            sumsBytes: i32.const(rowBytes),
            blocks: inThisSlab,
            blocksPerSpan,
            lanesPerBlock,
            spanSums: code.scratch,
          });
          for (const [at, callee] of tileFunctions[format.activation][correction].entries()) {
            code.if(i32.eq(tileHeight, i32.const(at + 1)), () => code.run(callee, ...operands));
          }
        }
      });
      done.set(i32.add(done, inThisSlab));
    });
    const row = code.local("i32", i32.const(0));
    code.for(row, height, 1, () => {
      writeColumns(code, {
        sums: code.local("i32", i32.add(sums, i32.mul(row, i32.const(rowBytes)))),
        to: i32.add(code.fields.output, i32.mul(i32.mul(i32.add(begin, row), n), i32.const(4))),
        item: panelIndex,
        columns,
      });
    });
  });
}

function correctionOf({ activation, symmetric }: KernelFormat): Correction {
  if (activation === "int16") return "none";
  return symmetric ? "rows" : "rows-and-columns";
}

/** Fills the offsets of the tiles `firstTile .. endTile`, `[blocks][height]` per tile. */
function prepareOffsets(
  code: Code,
  operands: {
    readonly format: KernelFormat;
    readonly firstTile: Local<"i32">;
    readonly endTile: Local<"i32">;
    readonly begin: Local<"i32">;
    readonly offsets: Local<"i32">;
  },
): void {
  const { format, firstTile, endTile, begin, offsets } = operands;
  const { blocks, block, spans, sums } = code.fields;
  const tile = code.local("i32", firstTile);
  code.for(tile, endTile, 1, () => {
    const { row, height } = tileOf(code, tile);
    const heightBytes = code.local("i32", i32.mul(height, i32.const(4)));
    const sumsPerRow = i32.add(i32.mul(spans, i32.const(spanSize / 16)), i32.const(1));
    const offsetIndex = i32.mul(i32.sub(row, begin), blocks);
    writeOffsets(code, {
      sums: i32.add(sums, i32.mul(i32.mul(row, sumsPerRow), i32.const(4))),
      into: i32.add(offsets, i32.mul(offsetIndex, i32.const(4))),
      blocks,
      height,
      heightBytes,
      blockStride: code.local("i32", i32.mul(heightBytes, i32.div_u(block, i32.const(16)))),
      factor: format.symmetric ? 2 ** (format.bits - 1) : undefined,
    });
  });
}
