/**
 * xʸ of float32 numbers, one at a time in float64: general powers are rare in models, and their common exponents have
 * kernels of their own (`unaryForPower`). Special values are those of C's `powf`.
 */
import {
  type F64,
  FunctionBuilder,
  f32,
  f32x4,
  f64,
  i32,
  type Local,
  select,
  type V128,
} from "../assembler/index.ts";

const infinity = Number.POSITIVE_INFINITY;

type PowFunction = FunctionBuilder & { readonly result: "f32" };

/**
 * A function (x: f32, y: f32) → f32, within 1 · 2⁻²³ of the value.
 *
 *   x = m·2ᵉ, s = (m − 1) / (m + 1), log₂|x| = e + 2/ln 2 · (s + s³/3 + …), xʸ = 2ⁿ · exp(ln 2 · (y·log₂|x| − n))
 *
 * Numerics: float64; nine terms of the series for |s| ≤ 0.172 are within 1e-15, twelve of the exponential within 1e-14.
 */
function buildPow(): PowFunction {
  const code = new FunctionBuilder("pow", ["f32", "f32"], "f32") as PowFunction;
  const x = code.parameter(0, "f32");
  const y = code.parameter(1, "f32");
  const giveIf = (condition: ReturnType<typeof i32.and>, value: ReturnType<typeof f32.const>) =>
    code.if(condition, () => code.return(value));
  giveIf(i32.or(f32.eq(y, f32.const(0)), f32.eq(x, f32.const(1))), f32.const(1));
  giveIf(i32.or(f32.ne(x, x), f32.ne(y, y)), f32.const(Number.NaN));
  const size = code.local("f32", f32.abs(x));
  const half = code.local("f32", f32.mul(y, f32.const(0.5)));
  const isInteger = code.local("i32", f32.eq(f32.floor(y), y));
  const isOdd = code.local("i32", i32.and(isInteger, f32.ne(f32.floor(half), half)));
  const sign = code.local("f32", select(f32.copysign(f32.const(1), x), f32.const(1), isOdd));
  code.if(f32.eq(f32.abs(y), f32.const(infinity)), () => {
    giveIf(f32.eq(size, f32.const(1)), f32.const(1));
    const grows = i32.eq(f32.gt(size, f32.const(1)), f32.gt(y, f32.const(0)));
    code.return(select(f32.const(infinity), f32.const(0), grows));
  });
  const isEnd = i32.or(f32.eq(size, f32.const(0)), f32.eq(size, f32.const(infinity)));
  code.if(isEnd, () => {
    const grows = i32.eq(f32.gt(size, f32.const(1)), f32.gt(y, f32.const(0)));
    code.return(f32.mul(sign, select(f32.const(infinity), f32.const(0), grows)));
  });
  giveIf(i32.and(f32.lt(x, f32.const(0)), i32.eqz(isInteger)), f32.const(Number.NaN));

  const shift = code.local("i32");
  code.if(f32.lt(size, f32.const(2 ** -126)), () => {
    size.set(f32.mul(size, f32.const(2 ** 23)));
    shift.set(i32.const(-23));
  });
  const bits = code.local("i32", i32.reinterpret_f32(size));
  const exponent = code.local(
    "i32",
    i32.shr_s(i32.sub(bits, i32.const(0x3f3504f3)), i32.const(23)),
  );
  const mantissa = code.local(
    "f64",
    f64.promote_f32(f32.reinterpret_i32(i32.sub(bits, i32.shl(exponent, i32.const(23))))),
  );
  const one = f64.const(1);
  const s = code.local("f64", f64.div(f64.sub(mantissa, one), f64.add(mantissa, one)));
  const square = code.local("f64", f64.mul(s, s));
  const series = code.local("f64");
  series.set(
    horner(
      square,
      [0, 1, 2, 3, 4, 5, 6, 7, 8].map((k) => 2 / Math.LN2 / (2 * k + 1)),
    ),
  );
  const log2 = f64.add(f64.mul(s, series), f64.convert_i32_s(i32.add(exponent, shift)));
  const product = code.local("f64", f64.mul(log2, f64.promote_f32(y)));
  product.set(f64.min(f64.max(product, f64.const(-152)), f64.const(130)));
  const n = code.local("f64", f64.nearest(product));
  const r = code.local("f64", f64.mul(f64.sub(product, n), f64.const(Math.LN2)));
  const factorials = [1];
  for (let k = 1; k < 13; k++) factorials.push(factorials[k - 1] / k);
  const whole = code.local("i32", i32.trunc_sat_f64_s(n));
  const lower = code.local("i32", i32.shr_s(whole, i32.const(1)));
  const powerOfTwo = (k: ReturnType<typeof i32.add>) =>
    f64.promote_f32(f32.reinterpret_i32(i32.shl(i32.add(k, i32.const(127)), i32.const(23))));
  const scaled = f64.mul(horner(r, factorials), powerOfTwo(lower));
  const result = f64.mul(scaled, powerOfTwo(i32.sub(whole, lower)));
  code.give(f32.mul(sign, f32.demote_f64(result)));
  return code;
}

const horner = (x: Local<"f64">, coefficients: readonly number[]): F64 =>
  coefficients.reduceRight<F64>(
    (sum, coefficient) => f64.add(f64.mul(sum, x), f64.const(coefficient)),
    f64.const(0),
  );

/** xʸ lane by lane; within 2⁻²³ of the value, special values as C's `powf`. */
export function preparePow(code: FunctionBuilder): (x: V128, y: V128) => V128 {
  const pow = buildPow();
  const [base, exponent, result] = code.locals(3, "v128");
  return (x, y) => {
    base.set(x);
    exponent.set(y);
    for (const lane of [0, 1, 2, 3]) {
      const value = code.call(
        pow,
        f32x4.extract_lane(base, lane),
        f32x4.extract_lane(exponent, lane),
      );
      result.set(f32x4.replace_lane(result, lane, value));
    }
    return result;
  };
}
