/**
 * Sine and cosine over four float32 lanes, for angles as large as positions of a context times a frequency.
 * Not for angles beyond 1e9: the reduction keeps no more of π than 86 bits.
 */
import {
  type FunctionBuilder,
  f32x4,
  f64x2,
  i8x16,
  i32x4,
  type V128,
  v128,
} from "../assembler/index.ts";
import {
  constant,
  doubleConstant,
  highHalf,
  integerConstant,
  lowHalves,
  polynomial,
} from "./elements.ts";
import type { VectorFunction } from "./math.ts";

/** π/2 = high + low; high has 33 bits, so that n · high is exact for integers n of 20 bits. */
const halfPiHigh = Math.round((Math.PI / 2) * 2 ** 32) / 2 ** 32;
/** The last term is what the float64 nearest to π/2 lacks. */
const halfPiLow = Math.PI / 2 - halfPiHigh + 6.123233995736766e-17;
/** Adding it to a small float64 puts the nearest integer into the low bits. */
const integerMagic = 1.5 * 2 ** 52;

/** (sin x − x) / x³ in x² on |x| ≤ π/4, within 3.8e-9. */
const sineCoefficients = [-0.16666655242443085, 0.00833216030150652, -0.0001951520098373294];
/** (cos x − 1 + x²/2) / x⁴ in x² on |x| ≤ π/4, within 1.2e-10. */
const cosineCoefficients = [0.04166664555668831, -0.0013887315290048718, 2.4433062208117917e-5];

/**
 * sin x or cos x within 2 · 2⁻²³ of the value for |x| ≤ 1.6e6, and within 1.2e-7 absolute up to 1e9.
 *
 *   n = round(x · 2/π), r = x − n·π/2 in float64; ± sin r or ± cos r by n modulo 4
 *
 * Numerics: ±∞ and NaN give NaN.
 */
function prepareCircular(code: FunctionBuilder, firstQuadrant: 0 | 1): VectorFunction {
  const twoOverPi = doubleConstant(code, 2 / Math.PI);
  const magic = doubleConstant(code, integerMagic);
  const high = doubleConstant(code, halfPiHigh);
  const low = doubleConstant(code, halfPiLow);
  const one = constant(code, 1);
  const minusHalf = constant(code, -0.5);
  const oneInteger = integerConstant(code, 1);
  const first = integerConstant(code, firstQuadrant);
  const signBit = integerConstant(code, 0x80000000);
  const sine = sineCoefficients.map((value) => constant(code, value));
  const cosine = cosineCoefficients.map((value) => constant(code, value));
  const [given, angle, turns, quadrant, r, square, result] = code.locals(7, "v128");
  const reduce = (x: V128) => {
    angle.set(f64x2.promote_low_f32x4(x));
    turns.set(f64x2.add(f64x2.mul(angle, twoOverPi), magic));
    const n = f64x2.sub(turns, magic);
    angle.set(f64x2.sub(f64x2.sub(angle, f64x2.mul(n, high)), f64x2.mul(n, low)));
  };
  return (x) => {
    given.set(x);
    reduce(given);
    r.set(f32x4.demote_f64x2_zero(angle));
    quadrant.set(turns);
    reduce(highHalf(given));
    r.set(lowHalves(r, f32x4.demote_f64x2_zero(angle)));
    quadrant.set(
      i8x16.shuffle(quadrant, turns, [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27]),
    );
    quadrant.set(i32x4.add(quadrant, first));
    square.set(f32x4.mul(r, r));
    result.set(f32x4.mul(f32x4.mul(square, square), polynomial(square, cosine)));
    result.set(f32x4.add(f32x4.add(result, f32x4.mul(square, minusHalf)), one));
    r.set(f32x4.add(f32x4.mul(f32x4.mul(square, r), polynomial(square, sine)), r));
    const isOdd = i32x4.eq(v128.and(quadrant, oneInteger), oneInteger);
    result.set(v128.bitselect(result, r, isOdd));
    return v128.xor(result, v128.and(i32x4.shl(quadrant, 30), signBit));
  };
}

/** sin x; accuracy as `prepareCircular` says. */
export const prepareSin = (code: FunctionBuilder): VectorFunction => prepareCircular(code, 0);

/** cos x; accuracy as `prepareCircular` says. */
export const prepareCos = (code: FunctionBuilder): VectorFunction => prepareCircular(code, 1);
