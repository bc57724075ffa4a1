/**
 * How elements of every type become float32 lanes and come out of them again. No rounding but the one that the type
 * needs; what the conversions mean stands in `convert.ts`.
 */
import {
  type FunctionBuilder,
  f32x4,
  f64x2,
  i8x16,
  i16x8,
  i32,
  i32x4,
  type Local,
  type V128,
  v128,
} from "../assembler/index.ts";
import { constant, highHalf, integerConstant, lowHalves } from "./elements.ts";

export type ElementTypeName = "f32" | "f64" | "f16" | "bf16" | "i32" | "i8" | "u8" | "bool";

type Read = (at: Local<"i32">, isWhole: boolean) => V128;
type Write = (to: Local<"i32">, value: V128, isWhole: boolean) => void;

/** Elements as four float32 lanes (one element: in lane 0). */
export interface Lanes {
  readonly bytes: number;
  prepareRead(code: FunctionBuilder): Read;
  prepareWrite(code: FunctionBuilder): Write;
}

const narrow8 = (lanes: V128): V128 => {
  const words = i16x8.narrow_i32x4_s(lanes, lanes);
  return i8x16.narrow_i16x8_s(words, words);
};

/** Reads one or four elements of `bytes` bytes into 32-bit lanes. */
const readSmall = (bytes: 1 | 2, isSigned: boolean): Read => {
  const single = bytes === 2 ? i32.load16_u : isSigned ? i32.load8_s : i32.load8_u;
  const extend = (at: Local<"i32">) => {
    if (bytes === 2) return v128.load16x4_u(at);
    const words = (isSigned ? i16x8.extend_low_i8x16_s : i16x8.extend_low_i8x16_u)(
      v128.load32_zero(at),
    );
    return (isSigned ? i32x4.extend_low_i16x8_s : i32x4.extend_low_i16x8_u)(words);
  };
  return (at, isWhole) => (isWhole ? extend(at) : i32x4.splat(single(at)));
};

/** Writes the low `bytes` bytes of 32-bit lanes that hold 0 .. 2^(8·bytes) − 1. */
const writeSmall =
  (code: FunctionBuilder, bytes: 1 | 2): Write =>
  (to, value, isWhole) => {
    if (!isWhole) {
      const store = bytes === 1 ? i32.store8 : i32.store16;
      code.do(store(to, i32x4.extract_lane(value, 0)));
      return;
    }
    const words = code.local("v128", i16x8.narrow_i32x4_u(value, value));
    if (bytes === 2) code.do(v128.store64_lane(to, words, 0));
    else code.do(v128.store32_lane(to, i8x16.narrow_i16x8_u(words, words), 0));
  };

/** Integers of 8 bits, clamped from float32. */
const small = (lowest: number, highest: number): Lanes => ({
  bytes: 1,
  prepareRead: () => {
    const read = readSmall(1, lowest < 0);
    return (at, isWhole) => f32x4.convert_i32x4_s(read(at, isWhole));
  },
  prepareWrite: (code) => {
    const [low, high] = [lowest, highest].map((value) => integerConstant(code, value));
    const mask = integerConstant(code, 255);
    const write = writeSmall(code, 1);
    return (to, value, isWhole) => {
      const whole = i32x4.min_s(i32x4.max_s(i32x4.trunc_sat_f32x4_s(value), low), high);
      write(to, code.local("v128", v128.and(whole, mask)), isWhole);
    };
  },
});

export const lanes: Readonly<Record<ElementTypeName, Lanes>> = {
  f32: {
    bytes: 4,
    prepareRead: () => (at, isWhole) => (isWhole ? v128.load(at) : v128.load32_splat(at)),
    prepareWrite: (code) => (to, value, isWhole) =>
      code.do(isWhole ? v128.store(to, value) : v128.store32_lane(to, value, 0)),
  },
  f64: {
    bytes: 8,
    prepareRead: () => (at, isWhole) => {
      const low = f32x4.demote_f64x2_zero(isWhole ? v128.load(at) : v128.load64_splat(at));
      return isWhole ? lowHalves(low, f32x4.demote_f64x2_zero(v128.load(at, 16))) : low;
    },
    prepareWrite: (code) => (to, value, isWhole) => {
      const given = code.local("v128", value);
      const low = f64x2.promote_low_f32x4(given);
      code.do(isWhole ? v128.store(to, low) : v128.store64_lane(to, low, 0));
      if (isWhole) code.do(v128.store(to, f64x2.promote_low_f32x4(highHalf(given)), 16));
    },
  },
  f16: { bytes: 2, prepareRead: prepareReadHalf, prepareWrite: prepareWriteHalf },
  bf16: {
    bytes: 2,
    prepareRead: () => {
      const read = readSmall(2, false);
      return (at, isWhole) => i32x4.shl(read(at, isWhole), 16);
    },
    prepareWrite: prepareWriteBrain,
  },
  i32: {
    bytes: 4,
    prepareRead: () => (at, isWhole) =>
      f32x4.convert_i32x4_s(isWhole ? v128.load(at) : v128.load32_splat(at)),
    prepareWrite: (code) => (to, value, isWhole) => {
      const whole = i32x4.trunc_sat_f32x4_s(value);
      code.do(isWhole ? v128.store(to, whole) : v128.store32_lane(to, whole, 0));
    },
  },
  i8: small(-128, 127),
  u8: small(0, 255),
  bool: {
    bytes: 1,
    prepareRead: small(0, 1).prepareRead,
    prepareWrite: (code) => (to, value, isWhole) => {
      const isTrue = i8x16.neg(narrow8(f32x4.ne(value, v128.zero())));
      if (isWhole) code.do(v128.store32_lane(to, isTrue, 0));
      else code.do(i32.store8(to, i8x16.extract_lane_u(isTrue, 0)));
    },
  },
};

/** Half bits shifted to the place of float32's, times 2¹¹²: exact for subnormals as well. */
function prepareReadHalf(code: FunctionBuilder): Read {
  const read = readSmall(2, false);
  const magnitudeBits = integerConstant(code, 0x7fff);
  const signBit = integerConstant(code, 0x8000);
  const scale = constant(code, 2 ** 112);
  const endless = integerConstant(code, 0x0f800000);
  const exponentBits = integerConstant(code, 0x7f800000);
  const [given, size] = code.locals(2, "v128");
  return (at, isWhole) => {
    given.set(read(at, isWhole));
    size.set(i32x4.shl(v128.and(given, magnitudeBits), 13));
    const isEndless = i32x4.ge_s(size, endless);
    const value = v128.or(f32x4.mul(size, scale), v128.and(isEndless, exponentBits));
    return v128.or(value, i32x4.shl(v128.and(given, signBit), 16));
  };
}

/** Rounds the bits to the nearest even half; below 2⁻¹⁴ an addition of ½ does it, whose last place is 2⁻²⁴. */
function prepareWriteHalf(code: FunctionBuilder): Write {
  const write = writeSmall(code, 2);
  const magnitudeBits = integerConstant(code, 0x7fffffff);
  const one = integerConstant(code, 1);
  const rebias = integerConstant(code, 0xfff - (112 << 23));
  const smallest = integerConstant(code, 0x38800000);
  const half = constant(code, 0.5);
  const overflow = integerConstant(code, 0x47800000);
  const infinity = integerConstant(code, 0x7c00);
  const endless = integerConstant(code, 0x7f800000);
  const quiet = integerConstant(code, 0x7e00);
  const [given, size, result] = code.locals(3, "v128");
  return (to, value, isWhole) => {
    given.set(value);
    size.set(v128.and(given, magnitudeBits));
    const odd = v128.and(i32x4.shr_u(size, 13), one);
    result.set(i32x4.shr_u(i32x4.add(i32x4.add(size, rebias), odd), 13));
    const subnormal = i32x4.sub(f32x4.add(size, half), half);
    result.set(v128.bitselect(subnormal, result, i32x4.lt_s(size, smallest)));
    result.set(v128.bitselect(infinity, result, i32x4.ge_s(size, overflow)));
    result.set(v128.bitselect(quiet, result, i32x4.gt_s(size, endless)));
    result.set(v128.or(result, i32x4.shr_u(v128.andnot(given, magnitudeBits), 16)));
    write(to, result, isWhole);
  };
}

function prepareWriteBrain(code: FunctionBuilder): Write {
  const write = writeSmall(code, 2);
  const one = integerConstant(code, 1);
  const almostHalf = integerConstant(code, 0x7fff);
  const quiet = integerConstant(code, 0x40);
  const [given, result] = code.locals(2, "v128");
  return (to, value, isWhole) => {
    given.set(value);
    const odd = v128.and(i32x4.shr_u(given, 16), one);
    result.set(i32x4.shr_u(i32x4.add(i32x4.add(given, almostHalf), odd), 16));
    const isNumber = f32x4.eq(given, given);
    result.set(v128.bitselect(result, v128.or(i32x4.shr_u(given, 16), quiet), isNumber));
    write(to, result, isWhole);
  };
}
