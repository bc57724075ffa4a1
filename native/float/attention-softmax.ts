/**
 * What happens to a chunk of attention scores [key][4 rows] between the two products: soft cap, mask, limits, and the
 * streaming softmax with its running maximum and sum per row.
 */
import { FunctionBuilder, f32, f32x4, i32, i32x4, type V128, v128 } from "../assembler/index.ts";
import { rowsPerTile } from "./attention-tile.ts";
import { prepareExp, prepareTanh } from "./math.ts";

/**
 * What is known of the four rows while their keys stream by: vectors of four lanes, in bytes from the start of the
 * state.
 */
export const rowState = {
  maximum: 0,
  sum: 16,
  /** exp(previous maximum − maximum): what the sums so far are multiplied with. */
  decay: 32,
  /** First visible key and the one after the last, int32. */
  firstKey: 48,
  endKey: 64,
  /** Addresses of the mask rows and of the output rows. */
  mask: 80,
  output: 96,
  /** int32, not 0: the mask hides the whole chunk from all rows. */
  isHidden: 112,
} as const;
export const rowStateBytes = 128;

/**
 * Masks from here down hide: exports write −∞ or the lowest float32. A score that such a mask is added to is nothing
 * beside any other, exp(score − maximum) = 0, once the row has seen a maximum above it.
 */
const hidingMask = -1e38;

function overKeys(
  name: string,
  extra: readonly ("i32" | "f32")[],
  build: (code: FunctionBuilder) => (score: V128) => V128,
): FunctionBuilder {
  const code = new FunctionBuilder(name, ["i32", "i32", ...extra]);
  const scores = code.parameter(0, "i32");
  const keys = code.parameter(1, "i32");
  const change = build(code);
  code.repeat(keys, () => {
    code.do(v128.store(scores, change(v128.load(scores))));
    code.advance(scores, 4 * rowsPerTile);
  });
  return code;
}

/** score = cap · tanh(score / cap). Parameters: scores, keys, cap. */
export const capScores = overKeys("attention-cap", ["f32"], (code) => {
  const cap = code.local("v128", f32x4.splat(code.parameter(2, "f32")));
  const tanh = prepareTanh(code);
  return (score) => f32x4.mul(cap, tanh(f32x4.div(score, cap)));
});

/** score += mask[row][key]. Parameters: scores, keys, state, bytes from the start of the mask rows to the first key. */
export const maskScores = overKeys("attention-mask", ["i32", "i32"], (code) => {
  const state = code.parameter(2, "i32");
  const offset = code.parameter(3, "i32");
  const rows = code.locals(rowsPerTile, "i32");
  rows.forEach((row, index) => {
    row.set(i32.add(i32.load(state, rowState.mask + 4 * index), offset));
  });
  const values = code.local("v128");
  return (score) => {
    values.set(v128.load32_splat(rows[0]));
    for (const [index, row] of rows.entries()) {
      if (index) values.set(f32x4.replace_lane(values, index, f32.load(row)));
      code.advance(row, 4);
    }
    return f32x4.add(score, values);
  };
});

/**
 * state.isHidden = every row has seen a key, and the mask hides this chunk from every row: causal masks that come as
 * tensors do so for half of all chunks.
 *
 * Parameters: keys, state, bytes from the start of the mask rows to the first key.
 */
export const findHidden: FunctionBuilder = buildFindHidden();

function buildFindHidden(): FunctionBuilder {
  const code = new FunctionBuilder("attention-hidden", ["i32", "i32", "i32"]);
  const [keys, state, offset] = [0, 1, 2].map((index) => code.parameter(index, "i32"));
  const limit = code.local("v128", f32x4.splat(f32.const(hidingMask)));
  const [highest, seen] = code.locals(2, "v128");
  const [row, at] = code.locals(2, "i32");
  highest.set(f32x4.splat(f32.const(Number.NEGATIVE_INFINITY)));
  seen.set(f32x4.gt(v128.load(state, rowState.maximum), limit));
  code.do(i32.store(state, i32.const(0), rowState.isHidden));
  code.if(i32x4.all_true(seen), () => {
    for (let index = 0; index < rowsPerTile; index++) {
      row.set(i32.add(i32.load(state, rowState.mask + 4 * index), offset));
      at.set(i32.const(0));
      code.for(at, i32.sub(keys, i32.const(3)), 4, () => {
        highest.set(f32x4.max(highest, v128.load(row)));
        code.advance(row, 16);
      });
      code.for(at, keys, 1, () => {
        highest.set(f32x4.max(highest, v128.load32_splat(row)));
        code.advance(row, 4);
      });
    }
    // A mask of NaN is not below the limit.
    const isHidden = i32x4.all_true(f32x4.le(highest, limit));
    code.do(i32.store(state, isHidden, rowState.isHidden));
  });
  return code;
}

/** score = −∞ where the row does not see the key. Parameters: scores, keys, state, first key of the chunk. */
export const limitScores = overKeys("attention-limit", ["i32", "i32"], (code) => {
  const state = code.parameter(2, "i32");
  const first = code.local("v128", v128.load(state, rowState.firstKey));
  const end = code.local("v128", v128.load(state, rowState.endKey));
  const key = code.local("v128", i32x4.splat(code.parameter(3, "i32")));
  const one = code.local("v128", i32x4.splat(i32.const(1)));
  const hidden = code.local("v128", f32x4.splat(f32.const(Number.NEGATIVE_INFINITY)));
  const sees = code.local("v128");
  return (score) => {
    sees.set(v128.and(i32x4.ge_s(key, first), i32x4.lt_s(key, end)));
    key.set(i32x4.add(key, one));
    return v128.bitselect(score, hidden, sees);
  };
});

/**
 * One step of the streaming softmax: scores become exp(score − maximum), the state moves to the new maximum.
 *
 *   m' = max(m, scores), decay = exp(m − m'), p = exp(score − m'), sum = sum · decay + Σ p
 *
 * Parameters: scores, keys ≥ 1, state.
 * Numerics: while every score of a row is −∞, m' counts as 0, so p is 0 and not NaN; NaN and +∞ give NaN.
 */
export const softmaxStep: FunctionBuilder = buildSoftmaxStep();

function buildSoftmaxStep(): FunctionBuilder {
  const code = new FunctionBuilder("attention-softmax", ["i32", "i32", "i32"]);
  const [scores, keys, state] = [0, 1, 2].map((index) => code.parameter(index, "i32"));
  const exp = prepareExp(code);
  const minusInfinity = code.local("v128", f32x4.splat(f32.const(Number.NEGATIVE_INFINITY)));
  const maximum = code.local("v128", v128.load(state, rowState.maximum));
  const at = code.local("i32", scores);
  const [base, sum, value] = code.locals(3, "v128");
  code.repeat(keys, () => {
    maximum.set(f32x4.max(maximum, v128.load(at)));
    code.advance(at, 4 * rowsPerTile);
  });
  base.set(v128.andnot(maximum, f32x4.eq(maximum, minusInfinity)));
  value.set(exp(f32x4.sub(v128.load(state, rowState.maximum), base)));
  code.do(v128.store(state, value, rowState.decay));
  code.do(v128.store(state, maximum, rowState.maximum));
  at.set(scores);
  code.repeat(keys, () => {
    value.set(exp(f32x4.sub(v128.load(at), base)));
    code.do(v128.store(at, value));
    sum.set(f32x4.add(sum, value));
    code.advance(at, 4 * rowsPerTile);
  });
  const before = f32x4.mul(v128.load(state, rowState.sum), v128.load(state, rowState.decay));
  code.do(v128.store(state, f32x4.add(before, sum), rowState.sum));
  return code;
}
