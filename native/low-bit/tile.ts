/**
 * The inner product of the GEMM: `height` rows of quantized activations with 8 unpacked columns over one slab of K,
 * added to float32 sums in memory.
 *
 * Why 6 × 8 (int16: 4 × 8): 12 (8) integer accumulators, two vectors of codes and one of activations fill the 16
 * registers of x86-64. Sums over blocks and spans lie in the first-level cache: they are touched once per block.
 * Cost: per lane of K `height` + 2 loads for 2 · `height` dot products.
 *
 * Registers: accumulators [height][2], codes [2], activations.
 */
import {
  FunctionBuilder,
  f32x4,
  type I32,
  i32,
  type Local,
  select,
  type V128,
  v128,
} from "../assembler/index.ts";
import { type ActivationType, type Arithmetic, arithmetics } from "./arithmetic.ts";

/** How the tile corrects for zero points: one term per row, one per row and column, or not at all. */
export type Correction = "rows" | "rows-and-columns" | "none";

const parameters = [
  /** Lanes of the tile's activations at the slab. */
  "activations",
  /** int32 [block][height]; unused without correction. */
  "offsets",
  /** float32 [span][height]: scales of the activations. */
  "activationScales",
  /** Unpacked codes, scales and zero points of the half panel. */
  "codes",
  "scales",
  "zeroPoints",
  /** float32 [height][sumsBytes / 4]: added to. */
  "sums",
  "sumsBytes",
  "blocks",
  "blocksPerSpan",
  "lanesPerBlock",
  /** Scratch for the sums of one span: float32 [height][8]. */
  "spanSums",
] as const;

export type TileOperands = Readonly<Record<(typeof parameters)[number], I32>>;

/** The functions by correction, activation type and height, made once so that all kernels of a module share them. */
export const tileFunctions: Readonly<
  Record<ActivationType, Readonly<Record<Correction, readonly FunctionBuilder[]>>>
> = {
  int8: tileFamily("int8"),
  int16: tileFamily("int16"),
};

function tileFamily(activation: ActivationType) {
  const heights = Array.from({ length: arithmetics[activation].tileRows }, (_, at) => at + 1);
  const family = (correction: Correction) =>
    heights.map((height) => tileFunction(arithmetics[activation], correction, height));
  return {
    rows: family("rows"),
    "rows-and-columns": family("rows-and-columns"),
    none: family("none"),
  };
}

/** The operands in the order of the parameters. */
export const tileArguments = (operands: TileOperands): I32[] =>
  parameters.map((name) => operands[name]);

function tileFunction(arithmetic: Arithmetic, correction: Correction, height: number) {
  const { letters, isa } = arithmetic;
  const name = `${letters}-tile-${height}x8-${correction}-${isa}`;
  const code = new FunctionBuilder(
    name,
    parameters.map(() => "i32"),
  );
  const operands = Object.fromEntries(
    parameters.map((parameter, index) => [parameter, code.parameter(index, "i32")]),
  ) as Record<(typeof parameters)[number], Local<"i32">>;
  const { activations, offsets, activationScales, codes, scales, zeroPoints, sums } = operands;
  const { blocks, blocksPerSpan, lanesPerBlock, spanSums } = operands;
  // The compiler of Node 20 hoists the loads of an unrolled turn and spills: 96 -> 80 GOP/s.
  const lanesPerTurn = arithmetic.activation === "int8" ? 2 : 1;
  const rows = Array.from({ length: height }, () => code.locals(2, "v128"));
  const columns = code.locals(2, "v128");
  const row = code.local("v128");
  const inThisSpan = code.local("i32");
  const isFirst = code.local("i32");
  const each = (body: (cell: Local<"v128">, row: number, quad: number) => void) => {
    for (const [at, cells] of rows.entries()) {
      for (const [quad, cell] of cells.entries()) body(cell, at, quad);
    }
  };
  const spanSumAt = (at: number, quad: number) => 32 * at + 16 * quad;

  code.while(i32.gt_s(blocks, i32.const(0)), () => {
    inThisSpan.set(select(blocks, blocksPerSpan, i32.lt_s(blocks, blocksPerSpan)));
    blocks.set(i32.sub(blocks, inThisSpan));
    isFirst.set(i32.const(1));
    code.repeat(inThisSpan, () => {
      if (correction === "rows-and-columns") {
        for (const [quad, column] of columns.entries()) {
          column.set(v128.load(zeroPoints, 16 * quad));
        }
        code.advance(zeroPoints, 32);
      }
      each((cell, at, quad) => {
        if (correction === "none") cell.set(v128.zero());
        else if (correction === "rows") {
          cell.set(quad === 0 ? v128.load32_splat(offsets, 4 * at) : rows[at][0]);
        } else {
          if (quad === 0) row.set(v128.load32_splat(offsets, 4 * at));
          cell.set(arithmetic.correction(columns[quad], row));
        }
      });
      if (correction !== "none") code.advance(offsets, 4 * height);
      code.repeat(i32.div_u(lanesPerBlock, i32.const(lanesPerTurn)), () => {
        for (let lane = 0; lane < lanesPerTurn; lane++) {
          for (const [quad, column] of columns.entries()) {
            column.set(v128.load(codes, 32 * lane + 16 * quad));
          }
          each((cell, at, quad) => {
            if (quad === 0) row.set(v128.load32_splat(activations, 4 * (height * lane + at)));
            cell.set(arithmetic.dot(row, columns[quad], cell));
          });
        }
        code.advance(codes, 32 * lanesPerTurn);
        code.advance(activations, 4 * height * lanesPerTurn);
      });
      for (const [quad, column] of columns.entries()) column.set(v128.load(scales, 16 * quad));
      code.advance(scales, 32);
      // In each row, both loads stand before both stores: V8's revectorizer joins them only then.
      const addBlock = (sum: (converted: V128, scales: V128, place: number) => V128) => {
        for (const [at, cells] of rows.entries()) {
          for (const [quad, cell] of cells.entries()) {
            cell.set(sum(f32x4.convert_i32x4_s(cell), columns[quad], spanSumAt(at, quad)));
          }
          for (const [quad, cell] of cells.entries()) {
            code.do(v128.store(spanSums, cell, spanSumAt(at, quad)));
          }
        }
      };
      // The first block of a span sets the sums: 2 % faster than adding to zeros (Node 20).
      code.if(
        isFirst,
        () => addBlock((converted, scales) => f32x4.mul(converted, scales)),
        () =>
          addBlock((converted, scales, place) =>
            arithmetic.multiplyAdd(converted, scales, v128.load(spanSums, place)),
          ),
      );
      isFirst.set(i32.const(0));
    });
    const to = code.local("i32", sums);
    for (const [at, cells] of rows.entries()) {
      row.set(v128.load32_splat(activationScales, 4 * at));
      for (const [quad, cell] of cells.entries()) {
        const inSpan = v128.load(spanSums, spanSumAt(at, quad));
        cell.set(arithmetic.multiplyAdd(inSpan, row, v128.load(to, 16 * quad)));
      }
      for (const [quad, cell] of cells.entries()) code.do(v128.store(to, cell, 16 * quad));
      code.advance(to, operands.sumsBytes);
    }
    code.advance(activationScales, 4 * height);
  });
  return code;
}
