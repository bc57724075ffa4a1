/**
 * Rotary position embedding: pairs of elements of every head turn by an angle that depends on the position. The
 * cosines and sines come from caches; for RotaryEmbedding (both forms), GroupQueryAttention and fused plain graphs.
 */
import { f32, f32x4, f64, type I32, i8x16, i32, memory, v128 } from "../assembler/index.ts";
import { defineKernel, type FieldValues } from "../kernel.ts";
import type { HeadStrides } from "./attention-plan.ts";
import { elementsToBytes, minimum } from "./gemm-pack.ts";

/**
 * out[a] = x[a] · cos − x[b] · sin, out[b] = x[b] · cos + x[a] · sin, for the pairs (a, b) of the first 2 · half
 * elements of each head: (i, half + i), or (2i, 2i + 1) if interleaved. The rest of the head is copied.
 *
 *   position(b, r) = ids[b · idsBatch + r · idsRow] + offset + r · positionStep,
 *   cos[b · cacheBatch + position · cacheRow + i]
 *
 * Fields: pointers x, out (may be x), cos, sin, ids (float64; 0: none); strides in elements; the rest from
 * `planRotary`.
 * Cost: 6 operations per pair.
 * Numerics: float32, products rounded: |error| ≤ 2 · 2⁻²³ · (|x[a]| + |x[b]|). Positions outside the cache take
 * its nearest row, so that ids of a bad feed cannot read elsewhere; who wants an error checks the feed.
 */
export const rotary = defineKernel({
  name: "f32-rotary-simd128",
  isa: "simd128",
  fields: {
    x: "i32",
    out: "i32",
    cos: "i32",
    sin: "i32",
    ids: "i32",
    rows: "i32",
    heads: "i32",
    headSize: "i32",
    half: "i32",
    interleaved: "i32",
    offset: "i32",
    positionStep: "i32",
    idsBatch: "i32",
    idsRow: "i32",
    cacheBatch: "i32",
    cacheRow: "i32",
    cacheRows: "i32",
    xBatch: "i32",
    xHead: "i32",
    xRow: "i32",
    outBatch: "i32",
    outHead: "i32",
    outRow: "i32",
  },
  item: "row (position) of a batch, all heads",
  build(code) {
    const { fields } = code;
    const { rows, heads, headSize, half, interleaved } = fields;
    const [batch, row, head, position, from, to, cos, sin, at] = code.locals(9, "i32");
    const [a, b, c, s] = code.locals(4, "v128");
    const [x, y, cosine, sine] = code.locals(4, "f32");
    const place = (base: I32, ...terms: readonly (readonly [I32, I32])[]) =>
      terms.reduce(
        (sum, [index, stride]) => i32.add(sum, elementsToBytes(i32.mul(index, stride))),
        base,
      );
    const halfBytes = code.local("i32", elementsToBytes(half));
    const first = () => f32x4.sub(f32x4.mul(a, c), f32x4.mul(b, s));
    const second = () => f32x4.add(f32x4.mul(b, c), f32x4.mul(a, s));
    const angles = (cosOffset: I32) => {
      c.set(v128.load(i32.add(cos, cosOffset)));
      s.set(v128.load(i32.add(sin, cosOffset)));
    };
    const offset = code.local("i32");
    const [low, high, lowOut, highOut] = code.locals(4, "i32");
    /** One pair; whole vectors of four pairs go before. */
    const single = () => {
      x.set(f32.load(low));
      y.set(f32.load(high));
      cosine.set(f32.load(i32.add(cos, offset)));
      sine.set(f32.load(i32.add(sin, offset)));
      code.do(f32.store(lowOut, f32.sub(f32.mul(x, cosine), f32.mul(y, sine))));
      code.do(f32.store(highOut, f32.add(f32.mul(y, cosine), f32.mul(x, sine))));
    };
    const walk = (lanes: number, pairBytes: number, body: () => void) =>
      code.for(at, i32.sub(half, i32.const(lanes - 1)), lanes, () => {
        body();
        for (const pointer of [low, high, lowOut, highOut]) {
          code.advance(pointer, pairBytes * lanes);
        }
        code.advance(offset, 4 * lanes);
      });
    const evens = [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27];
    const lower = [0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23];
    const turnHead = () => {
      at.set(i32.const(0));
      offset.set(i32.const(0));
      low.set(from);
      lowOut.set(to);
      code.if(
        interleaved,
        () => {
          high.set(i32.add(from, i32.const(4)));
          highOut.set(i32.add(to, i32.const(4)));
          walk(4, 8, () => {
            const [one, two] = [v128.load(low), v128.load(low, 16)];
            a.set(i8x16.shuffle(one, two, evens));
            b.set(
              i8x16.shuffle(
                one,
                two,
                evens.map((lane) => lane + 4),
              ),
            );
            angles(offset);
            const turned = code.local("v128", first());
            b.set(second());
            code.do(v128.store(lowOut, i8x16.shuffle(turned, b, lower)));
            code.do(
              v128.store(
                lowOut,
                i8x16.shuffle(
                  turned,
                  b,
                  lower.map((lane) => lane + 8),
                ),
                16,
              ),
            );
          });
          walk(1, 8, single);
        },
        () => {
          high.set(i32.add(from, halfBytes));
          highOut.set(i32.add(to, halfBytes));
          walk(4, 4, () => {
            a.set(v128.load(low));
            b.set(v128.load(high));
            angles(offset);
            code.do(v128.store(lowOut, first()));
            code.do(v128.store(highOut, second()));
          });
          walk(1, 4, single);
        },
      );
      const turned = i32.shl(halfBytes, i32.const(1));
      const isMoved = i32.ne(from, to);
      code.if(i32.and(isMoved, i32.gt_s(elementsToBytes(headSize), turned)), () => {
        const rest = i32.sub(elementsToBytes(headSize), turned);
        code.do(memory.copy(i32.add(to, turned), i32.add(from, turned), rest));
      });
    };
    const item = code.local("i32", code.begin);
    code.for(item, code.end, 1, () => {
      batch.set(i32.div_u(item, rows));
      row.set(i32.rem_u(item, rows));
      position.set(i32.add(fields.offset, i32.mul(row, fields.positionStep)));
      code.if(fields.ids, () => {
        const index = i32.add(i32.mul(batch, fields.idsBatch), i32.mul(row, fields.idsRow));
        const id = f64.load(i32.add(fields.ids, i32.shl(index, i32.const(3))));
        position.set(i32.add(position, i32.trunc_sat_f64_s(id)));
      });
      position.set(minimum(position, i32.sub(fields.cacheRows, i32.const(1))));
      code.if(i32.lt_s(position, i32.const(0)), () => position.set(i32.const(0)));
      const cache = [
        [batch, fields.cacheBatch],
        [position, fields.cacheRow],
      ] as const;
      cos.set(place(fields.cos, ...cache));
      sin.set(place(fields.sin, ...cache));
      from.set(place(fields.x, [batch, fields.xBatch], [row, fields.xRow]));
      to.set(place(fields.out, [batch, fields.outBatch], [row, fields.outRow]));
      head.set(i32.const(0));
      code.for(head, heads, 1, () => {
        turnHead();
        code.advance(from, elementsToBytes(fields.xHead));
        code.advance(to, elementsToBytes(fields.outHead));
      });
    });
  },
});

export interface RotaryShape {
  readonly batch: number;
  readonly rows: number;
  readonly heads: number;
  readonly headSize: number;
  /** Elements of a head that turn; even; default headSize. */
  readonly rotarySize?: number;
  readonly interleaved?: boolean;
  readonly x: HeadStrides;
  readonly out: HeadStrides;
  /**
   * "each": ids [batch, rows]; "shared": ids [rows], the same for all batches; "first": one id, the position of row 0;
   * "none": rows count from `offset`. Default "none".
   */
  readonly ids?: "each" | "shared" | "first" | "none";
  /** Added to every position; default 0. */
  readonly offset?: number;
  /** Rows of the caches; per batch if `cacheBatch` is not 0. */
  readonly cacheRows: number;
  /** Elements from row to row of the caches; default rotarySize / 2. */
  readonly cacheRow?: number;
  /** Elements from batch to batch of the caches; default 0: one cache for all. */
  readonly cacheBatch?: number;
}

type RotaryPointers = "x" | "out" | "cos" | "sin" | "ids";

export interface RotaryPlan {
  readonly items: number;
  /** Every field but the pointers. */
  readonly values: Omit<FieldValues<typeof rotary.fields>, RotaryPointers>;
}

/** The items and fields of a rotary embedding. Throws: RangeError when rotarySize is odd or larger than the head. */
export function planRotary(shape: RotaryShape): RotaryPlan {
  const { batch, rows, heads, headSize, rotarySize = headSize, x, out, ids = "none" } = shape;
  if (rotarySize % 2 || rotarySize > headSize) {
    throw new RangeError(`rotary size ${rotarySize} in a head of ${headSize}`);
  }
  const half = rotarySize / 2;
  return {
    items: batch * rows,
    values: {
      rows,
      heads,
      headSize,
      half,
      interleaved: shape.interleaved ? 1 : 0,
      offset: shape.offset ?? 0,
      positionStep: ids === "none" || ids === "first" ? 1 : 0,
      idsBatch: ids === "each" ? rows : 0,
      idsRow: ids === "each" || ids === "shared" ? 1 : 0,
      cacheBatch: shape.cacheBatch ?? 0,
      cacheRow: shape.cacheRow ?? half,
      cacheRows: shape.cacheRows,
      xBatch: x.batch,
      xHead: x.head,
      xRow: x.row,
      outBatch: out.batch,
      outHead: out.head,
      outRow: out.row,
    },
  };
}
