/**
 * The grid of one block of weights, as a function that kernels call: min-max, and the search for the smallest squared
 * error. What is computed, and why, stands in `src/quantize/grid.ts` and with the twin in the tests; here every sum is
 * taken in the same order, so that the results are the same bits.
 */
import {
  type F64,
  FunctionBuilder,
  f32,
  f64,
  f64x2,
  type I32,
  i32,
  type Local,
  select,
  v128,
} from "../assembler/index.ts";

/** Adding and subtracting 1.5 · 2⁵² rounds to the nearest integer, ties to even. */
const rounder = 6755399441055744;
/** Passes of alternating least squares after the best starting scale is known. */
const refinements = 3;
const largestFloat16 = 65504;

/** Bytes of scratch memory that `fitGrid` needs. */
export const fitScratchBytes = 16;

const roundHalfEven = (x: F64) => f64.sub(f64.add(x, f64.const(rounder)), f64.const(rounder));

/** Parameters of `fitGrid`, in order. */
const parameters = {
  /** Address of the block's elements, float64, side by side. */
  values: "i32",
  count: "i32",
  /** Address of what the squared error of each element counts, float64. */
  importance: "i32",
  /** 2^bits − 1. */
  highest: "i32",
  isSymmetric: "i32",
  isFloat16: "i32",
  /** Trial scales of the search; 0 gives the min-max grid. */
  trials: "i32",
  /** Each trial scale ÷ the one before. */
  ratio: "f64",
  /** Where the scale and the zero point go, float64. */
  scaleAt: "i32",
  zeroAt: "i32",
  /** Address of `fitScratchBytes` bytes. */
  sums: "i32",
} as const;

/** The value of the scale type nearest to a float64; float16 saturates. */
const roundScale = buildRoundScale();

function buildRoundScale() {
  const code = new FunctionBuilder("round-scale", ["f64", "i32"], "f64");
  const [scale, isFloat16] = [code.parameter(0, "f64"), code.parameter(1, "i32")];
  const single = code.local("f32", f32.demote_f64(scale));
  code.if(i32.eqz(isFloat16), () => code.return(f64.promote_f32(single)));
  const limit = f32.const(largestFloat16);
  single.set(f32.max(f32.neg(limit), f32.min(limit, single)));
  // Rounding to multiples of 2^(e − 10), e the exponent but at least −14: adding 1.5 · 2⁵² of these units.
  const exponent = code.local(
    "i32",
    i32.and(i32.shr_u(i32.reinterpret_f32(single), i32.const(23)), i32.const(255)),
  );
  code.if(i32.lt_s(exponent, i32.const(113)), () => exponent.set(i32.const(113)));
  const bits = i32.or(
    i32.shl(i32.add(exponent, i32.const(42)), i32.const(23)),
    i32.const(0x400000),
  );
  const shift = code.local("f64", f64.promote_f32(f32.reinterpret_i32(bits)));
  code.give(f64.sub(f64.add(f64.promote_f32(single), shift), shift));
  return code as FunctionBuilder & { readonly result: "f64" };
}

/**
 * Σ h·w·c and Σ h·c² with c = clip(round(w · inverse), low, high), to `sums`: even and odd elements apart, which are
 * the lanes of a vector. Parameters: values, count, importance, inverse, low, high, sums.
 */
const correlate = buildCorrelate();

function buildCorrelate(): FunctionBuilder {
  const types = ["i32", "i32", "i32", "f64", "f64", "f64", "i32"] as const;
  const code = new FunctionBuilder("correlate", types);
  const [values, count, importance] = [0, 1, 2].map((i) => code.parameter(i, "i32"));
  const [inverse, low, high] = [3, 4, 5].map((i) => code.parameter(i, "f64"));
  const sums = code.parameter(6, "i32");
  const [factor, floor, ceiling, magic] = [inverse, low, high, f64.const(rounder)].map((value) =>
    code.local("v128", f64x2.splat(value)),
  );
  const [w, c, h, withWeights, withCodes] = code.locals(5, "v128");
  const pairs = code.local("i32", i32.shr_u(count, i32.const(1)));
  code.if(pairs, () =>
    code.repeat(pairs, () => {
      w.set(v128.load(values));
      c.set(f64x2.sub(f64x2.add(f64x2.mul(w, factor), magic), magic));
      c.set(f64x2.pmax(f64x2.pmin(c, ceiling), floor));
      h.set(f64x2.mul(v128.load(importance), c));
      withWeights.set(f64x2.add(withWeights, f64x2.mul(w, h)));
      withCodes.set(f64x2.add(withCodes, f64x2.mul(c, h)));
      code.advance(values, 16);
      code.advance(importance, 16);
    }),
  );
  const [evenWeights, evenCodes, lastW, lastC, lastH] = code.locals(5, "f64");
  evenWeights.set(f64x2.extract_lane(withWeights, 0));
  evenCodes.set(f64x2.extract_lane(withCodes, 0));
  code.if(i32.and(count, i32.const(1)), () => {
    lastW.set(f64.load(values));
    lastC.set(roundHalfEven(f64.mul(lastW, inverse)));
    lastC.set(f64.max(low, f64.min(high, lastC)));
    lastH.set(f64.mul(f64.load(importance), lastC));
    evenWeights.set(f64.add(evenWeights, f64.mul(lastW, lastH)));
    evenCodes.set(f64.add(evenCodes, f64.mul(lastC, lastH)));
  });
  code.do(f64.store(sums, f64.add(evenWeights, f64x2.extract_lane(withWeights, 1))));
  code.do(f64.store(sums, f64.add(evenCodes, f64x2.extract_lane(withCodes, 1)), 8));
  return code;
}

/** Σ h · (w − s·c)². Parameters: values, count, importance, scale, low, high. */
const squaredError = buildSquaredError();

function buildSquaredError() {
  const types = ["i32", "i32", "i32", "f64", "f64", "f64"] as const;
  const code = new FunctionBuilder("squared-error", types, "f64");
  const [values, count, importance] = [0, 1, 2].map((i) => code.parameter(i, "i32"));
  const [scale, low, high] = [3, 4, 5].map((i) => code.parameter(i, "f64"));
  const zero = f64.const(0);
  const inverse = code.local("f64");
  code.if(f64.ne(scale, zero), () => inverse.set(f64.div(f64.const(1), scale)));
  const [w, c, error] = code.locals(3, "f64");
  code.repeat(count, () => {
    w.set(f64.load(values));
    c.set(roundHalfEven(f64.mul(w, inverse)));
    c.set(f64.max(low, f64.min(high, c)));
    c.set(f64.sub(w, f64.mul(scale, c)));
    error.set(f64.add(error, f64.mul(f64.mul(f64.load(importance), c), c)));
    code.advance(values, 8);
    code.advance(importance, 8);
  });
  code.give(error);
  return code as FunctionBuilder & { readonly result: "f64" };
}

/** Writes the grid of one block; `count` ≥ 1. */
export const fitGrid: FunctionBuilder = buildFitGrid();

function buildFitGrid(): FunctionBuilder {
  const names = Object.keys(parameters) as (keyof typeof parameters)[];
  const code = new FunctionBuilder("fit-grid", Object.values(parameters));
  const integer = (name: keyof typeof parameters) => code.parameter(names.indexOf(name), "i32");
  const [values, count, importance, highest, isSymmetric] = (
    ["values", "count", "importance", "highest", "isSymmetric"] as const
  ).map(integer);
  const [isFloat16, trials, scaleAt, zeroAt, sums] = (
    ["isFloat16", "trials", "scaleAt", "zeroAt", "sums"] as const
  ).map(integer);
  const ratio = code.parameter(names.indexOf("ratio"), "f64");
  const zero = f64.const(0);

  // Extremes, and which of them comes first.
  const [low, high, w] = code.locals(3, "f64");
  const [lowAt, highAt, at] = code.locals(3, "i32");
  at.set(values);
  code.repeat(count, () => {
    w.set(f64.load(at));
    code.if(
      f64.lt(w, low),
      () => {
        low.set(w);
        lowAt.set(at);
      },
      () =>
        code.if(f64.gt(w, high), () => {
          high.set(w);
          highAt.set(at);
        }),
    );
    code.advance(at, 8);
  });
  const top = code.local("f64", f64.convert_i32_u(highest));
  const middle = code.local("i32", i32.shr_u(i32.add(highest, i32.const(1)), i32.const(1)));
  const plain = code.local("f64");
  const plainZero = code.local("f64");
  const negatedLow = code.local("f64", f64.neg(low));
  code.if(
    isSymmetric,
    () => {
      const lowWins = i32.or(
        f64.gt(negatedLow, high),
        i32.and(f64.eq(negatedLow, high), i32.lt_u(lowAt, highAt)),
      );
      const extreme = select(low, high, lowWins);
      plain.set(f64.div(f64.neg(extreme), f64.convert_i32_u(middle)));
      plainZero.set(f64.convert_i32_u(middle));
    },
    () => plain.set(f64.div(f64.sub(high, low), top)),
  );
  plain.set(code.call(roundScale, plain, isFloat16));
  // A block of zeros has scale 0, not −0.
  plain.set(f64.add(plain, zero));
  code.if(i32.and(i32.eqz(isSymmetric), f64.ne(plain, zero)), () => {
    plainZero.set(f64.div(negatedLow, plain));
    plainZero.set(roundHalfEven(f64.max(zero, f64.min(top, plainZero))));
  });
  code.do(f64.store(scaleAt, plain));
  code.do(f64.store(zeroAt, plainZero));
  code.if(i32.or(i32.eqz(trials), i32.and(f64.eq(low, zero), f64.eq(high, zero))), () =>
    code.return(),
  );

  const [best, bestScale, bestZero, tried, lastTried] = code.locals(5, "f64");
  const [covering, scale, above, below, score] = code.locals(5, "f64");
  const sign = code.local("i32");
  best.set(f64.const(-1));
  bestScale.set(plain);
  bestZero.set(plainZero);
  tried.set(plainZero);
  lastTried.set(plainZero);
  code.if(i32.eqz(isSymmetric), () => {
    tried.set(f64.max(zero, f64.sub(plainZero, f64.const(1))));
    lastTried.set(f64.min(top, f64.add(plainZero, f64.const(1))));
  });
  const withWeights = f64.load(sums);
  const withCodes = f64.load(sums, 8);
  const sumsAt = (inverse: F64, zeroPoint: Local<"f64">) =>
    code.run(
      correlate,
      values,
      count,
      importance,
      inverse,
      f64.neg(zeroPoint),
      f64.sub(top, zeroPoint),
      sums,
    );
  const tryScales = () => {
    const limit = f64.sub(top, tried);
    above.set(select(high, negatedLow, sign));
    below.set(select(low, f64.neg(high), sign));
    covering.set(zero);
    code.if(f64.lt(tried, top), () => covering.set(f64.max(zero, f64.div(above, limit))));
    code.if(f64.gt(tried, zero), () =>
      covering.set(f64.max(covering, f64.div(f64.neg(below), tried))),
    );
    code.if(f64.ne(covering, zero), () => {
      scale.set(select(covering, f64.neg(covering), sign));
      code.repeat(trials, () => {
        sumsAt(f64.div(f64.const(1), scale), tried);
        code.if(f64.gt(withCodes, zero), () => {
          score.set(f64.div(f64.mul(withWeights, withWeights), withCodes));
          code.if(f64.gt(score, best), () => {
            best.set(score);
            bestScale.set(f64.div(withWeights, withCodes));
            bestZero.set(tried);
          });
        });
        scale.set(f64.mul(scale, ratio));
      });
    });
  };
  code.while(f64.le(tried, lastTried), () => {
    sign.set(i32.const(1));
    tryScales();
    code.if(isSymmetric, () => {
      sign.set(i32.const(0));
      tryScales();
    });
    tried.set(f64.add(tried, f64.const(1)));
  });
  code.if(f64.eq(bestScale, zero), () => code.return());

  const isRefined = code.local("i32", i32.const(refinements));
  code.while(isRefined, () => {
    sumsAt(f64.div(f64.const(1), bestScale), bestZero);
    isRefined.set(i32.sub(isRefined, i32.const(1)));
    const isUseful = i32.and(f64.gt(withCodes, zero), f64.ne(withWeights, zero));
    code.if(
      isUseful,
      () => {
        scale.set(f64.div(withWeights, withCodes));
        code.if(f64.eq(scale, bestScale), () => isRefined.set(i32.const(0)));
        bestScale.set(scale);
      },
      () => isRefined.set(i32.const(0)),
    );
  });
  const errorOf = (grid: Local<"f64">, zeroPoint: Local<"f64">) =>
    code.call(
      squaredError,
      values,
      count,
      importance,
      grid,
      f64.neg(zeroPoint),
      f64.sub(top, zeroPoint),
    );
  bestScale.set(code.call(roundScale, bestScale, isFloat16));
  score.set(errorOf(plain, plainZero));
  code.if(f64.lt(errorOf(bestScale, bestZero), score), () => {
    code.do(f64.store(scaleAt, bestScale));
    code.do(f64.store(zeroAt, bestZero));
  });
  return code;
}

/** What a kernel passes on; see `parameters`. */
export interface FitOperands {
  readonly values: I32;
  readonly count: I32;
  readonly importance: I32;
  readonly highest: I32;
  readonly isSymmetric: I32;
  readonly isFloat16: I32;
  readonly trials: I32;
  readonly ratio: F64;
  readonly scaleAt: I32;
  readonly zeroAt: I32;
  readonly sums: I32;
}

/** Appends the call. */
export function fitGridOf(code: FunctionBuilder, operands: FitOperands): void {
  const names = Object.keys(parameters) as (keyof FitOperands)[];
  code.run(fitGrid, ...names.map((name) => operands[name]));
}
