/**
 * The float64 product of two matrices in strips. The left one may be the panels of an upper triangular matrix.
 */
import { i32, select } from "../assembler/index.ts";
import { defineKernel, type FieldValues } from "../kernel.ts";
import { type StripAddress, stripLines, stripRowBytes } from "./layout.ts";
import { tiles } from "./tile.ts";

/** k of a pass: a strip of A takes 8 KB of the first-level cache. */
const kPerBlock = 256;
/** Strips of B that an item takes: their 256 k are 256 KB of the second-level cache. */
const rightPerItem = 32;
/** Strips of A that an item takes, so that few strips of B still make items for all threads. */
const leftPerItem = 16;

const modes = { store: 0, add: 1, subtract: -1 } as const;
export type MultiplyMode = keyof typeof modes;

/**
 * C = A · Bᵀ, C + A · Bᵀ or C − A · Bᵀ, for A and B in strips.
 *
 *   C[4i + u, 4j + v] = Σ_k A[i][k][u] · B[j][k][v]
 *
 * Panels of a triangle end on its diagonal: strip i of A then has k < 4i + 4.
 *
 * Fields: `left`, strips `leftFirst ..` of A at left + i · leftStep + i² · leftGrowth; `right`, strips of B; `k` ≥ 1;
 * tile (i, j) of C at c + (i − leftFirst) · cLeftStep + j · cRightStep, its rows `cRowStep` apart.
 * Cost: 2 · 16 · leftCount · rightCount · k operations, no scratch.
 * Numerics: float64, one chain per block of 256 k, the blocks added in their order.
 */
export const multiply = defineKernel({
  name: "f64-multiply-4x4-simd128",
  isa: "simd128",
  fields: {
    left: "i32",
    leftFirst: "i32",
    leftCount: "i32",
    leftStep: "i32",
    leftGrowth: "i32",
    right: "i32",
    rightCount: "i32",
    rightStep: "i32",
    k: "i32",
    c: "i32",
    cLeftStep: "i32",
    cRightStep: "i32",
    cRowStep: "i32",
    mode: "i32",
  },
  item: "block of 16 strips of A × 32 strips of B, A first",
  build(code) {
    const { left, leftFirst, leftCount, leftStep, leftGrowth } = code.fields;
    const { right, rightCount, rightStep, k, c, cLeftStep, cRightStep, cRowStep } = code.fields;
    const lesser = (a: typeof k, b: typeof k) => select(a, b, i32.lt_s(a, b));
    const leftBlocks = code.local(
      "i32",
      i32.div_u(i32.add(leftCount, i32.const(leftPerItem - 1)), i32.const(leftPerItem)),
    );
    const [i, iEnd, j, jBegin, jEnd, kBegin, kCount, strip] = code.locals(8, "i32");
    const [a, b, out, mode, limit] = code.locals(5, "i32");
    const item = code.local("i32", code.begin);
    const run = (name: MultiplyMode) => code.run(tiles[name], a, b, kCount, out, cRowStep);
    const turn = () => {
      strip.set(i32.add(i, leftFirst));
      a.set(i32.mul(strip, i32.add(leftStep, i32.mul(strip, leftGrowth))));
      a.set(i32.add(i32.add(left, a), i32.mul(kBegin, i32.const(stripRowBytes))));
      limit.set(k);
      code.if(leftGrowth, () => {
        limit.set(i32.mul(i32.add(strip, i32.const(1)), i32.const(stripLines)));
        limit.set(lesser(limit, k));
      });
      kCount.set(i32.sub(limit, kBegin));
      limit.set(i32.const(kPerBlock));
      kCount.set(lesser(kCount, limit));
      // A panel that ended in an earlier block of k has nothing to add.
      code.if(i32.gt_s(kCount, i32.const(0)), () => {
        b.set(i32.add(i32.mul(jBegin, rightStep), i32.mul(kBegin, i32.const(stripRowBytes))));
        b.set(i32.add(right, b));
        out.set(i32.add(i32.mul(i, cLeftStep), i32.mul(jBegin, cRightStep)));
        out.set(i32.add(c, out));
        j.set(jBegin);
        code.for(j, jEnd, 1, () => {
          code.if(
            mode,
            () =>
              code.if(
                i32.gt_s(mode, i32.const(0)),
                () => run("add"),
                () => run("subtract"),
              ),
            () => run("store"),
          );
          code.advance(b, rightStep);
          code.advance(out, cRightStep);
        });
      });
    };
    code.for(item, code.end, 1, () => {
      jBegin.set(i32.mul(i32.div_u(item, leftBlocks), i32.const(rightPerItem)));
      limit.set(i32.add(jBegin, i32.const(rightPerItem)));
      jEnd.set(lesser(limit, rightCount));
      mode.set(code.fields.mode);
      kBegin.set(i32.const(0));
      code.for(kBegin, k, kPerBlock, () => {
        i.set(i32.mul(i32.rem_u(item, leftBlocks), i32.const(leftPerItem)));
        limit.set(i32.add(i, i32.const(leftPerItem)));
        iEnd.set(lesser(limit, leftCount));
        code.for(i, iEnd, 1, turn);
        code.if(i32.eqz(mode), () => mode.set(i32.const(modes.add)));
      });
    });
  },
});

type Pointers = "left" | "right" | "c";
type Values = FieldValues<typeof multiply.fields>;

export interface MultiplyShape {
  readonly left: StripAddress;
  /** First strip of A, by default 0. */
  readonly leftFirst?: number;
  readonly leftCount: number;
  readonly right: StripAddress;
  readonly rightCount: number;
  readonly k: number;
  /** From tile to tile of C as the strip of A and of B counts up, and from row to row of a tile. */
  readonly c: { readonly leftStep: number; readonly rightStep: number; readonly rowStep: number };
  readonly mode?: MultiplyMode;
}

/** The items and fields of a product; the addresses are added by the caller. */
export function planMultiply(shape: MultiplyShape): {
  readonly items: number;
  readonly values: Omit<Values, Pointers>;
} {
  const { left, leftFirst = 0, leftCount, right, rightCount, k, c, mode = "store" } = shape;
  if (right.growth !== 0) throw new RangeError("the right side of a product is no triangle");
  return {
    items: Math.ceil(leftCount / leftPerItem) * Math.ceil(rightCount / rightPerItem),
    values: {
      leftFirst,
      leftCount,
      leftStep: left.step,
      leftGrowth: left.growth,
      rightCount,
      rightStep: right.step,
      k,
      cLeftStep: c.leftStep,
      cRightStep: c.rightStep,
      cRowStep: c.rowStep,
      mode: modes[mode],
    },
  };
}
