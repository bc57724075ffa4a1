/**
 * Elementary functions over four float32 lanes, as code for the body of a loop: `prepareExp(code)` puts its constants
 * into variables (outside the loop) and gives the function that appends the code and returns the value.
 * Polynomials are minimax fits of our own (Lawson's iteration in float64, coefficients rounded to float32); no fused
 * multiply-add, so that every engine gives the same bits. Errors are relative, in units of 2⁻²³.
 */
import { type FunctionBuilder, f32x4, i32x4, type V128, v128 } from "../assembler/index.ts";
import { constant, integerConstant, polynomial } from "./elements.ts";

/** Code for four lanes; the value is in a variable that the next call of the same function overwrites. */
export type VectorFunction = (x: V128) => V128;

/** ln 2 = high + low; n · high is exact for integers n of 14 bits. */
const ln2High = 0.693359375;
const ln2Low = Math.LN2 - ln2High;

/** (eˣ − 1 − x) / x² on |x| ≤ ln 2 / 2; the fit of eˣ is within 3.1e-9. */
const expCoefficients = [
  0.4999999403953552, 0.1666652113199234, 0.04166838899254799, 0.008368735201656818,
  0.001381455920636654,
];

/**
 * eˣ within 2 · 2⁻²³ of the value (subnormal results: within one step of their grid).
 *
 *   n = round(x / ln 2), r = x − n·ln 2, eˣ = (1 + r + r²·P(r)) · 2ⁿ
 *
 * Numerics: overflow gives ∞, −∞ gives 0, NaN stays NaN. 2ⁿ is applied as two factors, which reaches the subnormal
 * range and 2¹²⁸.
 */
export function prepareExp(code: FunctionBuilder): VectorFunction {
  const lowest = constant(code, -104);
  const highest = constant(code, 89);
  const reciprocal = constant(code, Math.LOG2E);
  const high = constant(code, ln2High);
  const low = constant(code, ln2Low);
  const one = constant(code, 1);
  const coefficients = expCoefficients.map((value) => constant(code, value));
  const bias = integerConstant(code, 127);
  const [r, n, k, half] = code.locals(4, "v128");
  const powerOfTwo = (exponent: V128) => i32x4.shl(i32x4.add(exponent, bias), 23);
  return (x) => {
    r.set(f32x4.pmin(f32x4.pmax(x, lowest), highest));
    n.set(f32x4.nearest(f32x4.mul(r, reciprocal)));
    r.set(f32x4.sub(f32x4.sub(r, f32x4.mul(n, high)), f32x4.mul(n, low)));
    k.set(i32x4.trunc_sat_f32x4_s(n));
    half.set(i32x4.shr_s(k, 1));
    r.set(f32x4.add(f32x4.add(f32x4.mul(f32x4.mul(r, r), polynomial(r, coefficients)), r), one));
    r.set(f32x4.mul(f32x4.mul(r, powerOfTwo(half)), powerOfTwo(i32x4.sub(k, half))));
    return r;
  };
}

/** (ln(1 + f) − f + f²/2) / f³ for 1 + f in √½ .. √2; the fit of ln is within 5.9e-9. */
const logCoefficients = [
  0.3333333134651184, -0.2500081956386566, 0.20001226663589478, -0.16623356938362122,
  0.14201757311820984, -0.13160182535648346, 0.1276157647371292, -0.07634496688842773,
];

/**
 * ln x within 2 · 2⁻²³ of the value.
 *
 *   x = m · 2ᵉ with m in √½ .. √2, ln x = e·ln 2 + f − f²/2 + f³·P(f), f = m − 1
 *
 * Numerics: subnormal x are scaled first; ln 0 = −∞, ln of a negative number is NaN, ∞ and NaN stay.
 */
export function prepareLog(code: FunctionBuilder): VectorFunction {
  const smallest = constant(code, 2 ** -126);
  const scale = constant(code, 2 ** 23);
  const scaleExponent = constant(code, -23);
  const middle = integerConstant(code, 0x3f3504f3);
  const one = constant(code, 1);
  const minusHalf = constant(code, -0.5);
  const high = constant(code, ln2High);
  const low = constant(code, ln2Low);
  const infinity = constant(code, Number.POSITIVE_INFINITY);
  const minusInfinity = constant(code, Number.NEGATIVE_INFINITY);
  const notANumber = constant(code, Number.NaN);
  const coefficients = logCoefficients.map((value) => constant(code, value));
  const [given, f, e, tiny, square, sum] = code.locals(6, "v128");
  return (x) => {
    given.set(x);
    tiny.set(f32x4.lt(given, smallest));
    f.set(v128.bitselect(f32x4.mul(given, scale), given, tiny));
    e.set(i32x4.shr_s(i32x4.sub(f, middle), 23));
    f.set(f32x4.sub(i32x4.sub(f, i32x4.shl(e, 23)), one));
    e.set(f32x4.add(f32x4.convert_i32x4_s(e), v128.and(tiny, scaleExponent)));
    square.set(f32x4.mul(f, f));
    sum.set(f32x4.mul(f32x4.mul(square, f), polynomial(f, coefficients)));
    sum.set(f32x4.add(sum, f32x4.mul(e, low)));
    sum.set(f32x4.add(sum, f32x4.mul(square, minusHalf)));
    sum.set(f32x4.add(f32x4.add(sum, f), f32x4.mul(e, high)));
    sum.set(v128.bitselect(sum, given, f32x4.lt(given, infinity)));
    sum.set(v128.bitselect(notANumber, sum, f32x4.lt(given, v128.zero())));
    sum.set(v128.bitselect(minusInfinity, sum, f32x4.eq(given, v128.zero())));
    return sum;
  };
}

/**
 * ln(1 + x) for x ≥ 0 within 4 · 2⁻²³ of the value.
 *
 *   w = 1 + x rounded, ln(1 + x) = ln w + (x − (w − 1)) / w
 */
export function prepareLogOnePlus(code: FunctionBuilder): VectorFunction {
  const log = prepareLog(code);
  const one = constant(code, 1);
  const [given, w] = code.locals(2, "v128");
  return (x) => {
    given.set(x);
    w.set(f32x4.add(given, one));
    const lost = f32x4.div(f32x4.sub(given, f32x4.sub(w, one)), w);
    return f32x4.add(log(w), lost);
  };
}

/** 1 / (1 + e⁻ˣ) within 4 · 2⁻²³ of the value. */
export function prepareSigmoid(code: FunctionBuilder): VectorFunction {
  const exp = prepareExp(code);
  const one = constant(code, 1);
  return (x) => f32x4.div(one, f32x4.add(one, exp(f32x4.neg(x))));
}

/** An odd function x · P(x²) / Q(x²) below `limit`, and ±1 from there on. */
function prepareOddRational(
  code: FunctionBuilder,
  limit: number,
  numerator: readonly number[],
  denominator: readonly number[],
): VectorFunction {
  const bound = constant(code, limit);
  const one = constant(code, 1);
  const signBit = integerConstant(code, 0x80000000);
  const above = numerator.map((value) => constant(code, value));
  const below = denominator.map((value) => constant(code, value));
  const [given, square, result] = code.locals(3, "v128");
  return (x) => {
    given.set(x);
    square.set(f32x4.mul(given, given));
    result.set(f32x4.div(f32x4.mul(given, polynomial(square, above)), polynomial(square, below)));
    const end = v128.or(one, v128.and(given, signBit));
    result.set(v128.bitselect(end, result, f32x4.ge(f32x4.abs(given), bound)));
    return result;
  };
}

/** erf x within 4 · 2⁻²³ of the value; ±1 from |x| = 3.92 on, where erf is nearer to 1 than to its neighbour. */
export const prepareErf = (code: FunctionBuilder): VectorFunction =>
  prepareOddRational(
    code,
    3.92,
    [
      1.1283791065216064, 0.19354559481143951, 0.0531018003821373, 0.0038833620492368937,
      0.00028456556446609856, 1.986769348150119e-6,
    ],
    [
      1, 0.5048578977584839, 0.11535020917654037, 0.015207288786768913, 0.0011855739867314696,
      3.742002081708051e-5,
    ],
  );

/** tanh x within 4 · 2⁻²³ of the value; ±1 from |x| = 9.02 on. */
export const prepareTanh = (code: FunctionBuilder): VectorFunction =>
  prepareOddRational(
    code,
    9.02,
    [1, 0.1337447166442871, 0.0034878060687333345, 2.048110582109075e-5, 1.3177414714959923e-8],
    [1, 0.4670778512954712, 0.02584736980497837, 0.0003272911999374628, 7.70400106375746e-7],
  );
