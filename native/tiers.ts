/**
 * Which instruction sets this engine runs correctly and fast. Knowing an instruction is not enough: there are engines
 * that accept the relaxed dot product and compute something else, and engines where it is no faster than the plain
 * one. Invariant: a tier that is reported as usable gave the right numbers before and after optimization.
 */
import { assembleModule, FunctionBuilder, i32, i32x4, v128 } from "./assembler/index.ts";
import { assembleKernels, type KernelFunction, writeTask } from "./kernel.ts";
import type { ActivationType } from "./low-bit/arithmetic.ts";
import type { LowBits } from "./low-bit/layout.ts";
import { activationBytes, lowBitMatrix } from "./low-bit/matrix.ts";

export interface Tier {
  readonly isUsable: boolean;
  /** Why, or why not, in a sentence. */
  readonly reason: string;
}

export interface Tiers {
  /** Everything needs it. */
  readonly simd128: Tier;
  /** Products of int8 activations with codes of up to 7 bits. */
  readonly relaxedSimd: Tier;
  /** The same with codes of 8 bits: the engine takes the second operand of the dot product as unsigned. */
  readonly relaxedSimd8: Tier;
  /** Time of the int16 product ÷ time of the int8 product; undefined when one cannot run or the clock stands still. */
  readonly relaxedSpeedup: number | undefined;
}

/** Below this the more exact int16 product is taken. */
const leastSpeedup = 1.15;

/**
 * Probes the engine; takes about 25 ms where relaxed SIMD is present, next to nothing elsewhere.
 *
 * @param now - a clock in milliseconds.
 */
export function availableTiers(now: () => number = () => performance.now()): Tiers {
  const no = (reason: string): Tier => ({ isUsable: false, reason });
  const yes = (reason: string): Tier => ({ isUsable: true, reason });
  if (typeof WebAssembly === "undefined") {
    const none = no("this engine has no WebAssembly");
    return { simd128: none, relaxedSimd: none, relaxedSimd8: none, relaxedSpeedup: undefined };
  }
  if (!validates("int16")) {
    const none = no("this engine has no WebAssembly SIMD (simd128)");
    return { simd128: none, relaxedSimd: none, relaxedSimd8: none, relaxedSpeedup: undefined };
  }
  const simd128 = yes("the engine validates simd128");
  const without = (reason: string): Tiers => {
    const none = no(reason);
    return { simd128, relaxedSimd: none, relaxedSimd8: none, relaxedSpeedup: undefined };
  };
  if (!validates("int8")) return without("this engine has no relaxed SIMD");
  const isRight = dotProbe();
  const wrong = "this engine's relaxed dot product gives wrong numbers";
  if (!isRight(127, 1)) return without(wrong);
  // Many turns make the engine optimize the probe while the speed is measured; then the optimized code is checked.
  isRight(127, 2_000_000);
  const relaxedSpeedup = measureSpeedup(now);
  if (!isRight(127, 1)) return without(wrong);
  if (relaxedSpeedup === undefined) {
    return without("this engine's clock is too coarse to tell whether relaxed SIMD is faster");
  }
  const measured = `the int8 product takes 1/${relaxedSpeedup.toFixed(2)} of the time of the int16 product`;
  if (relaxedSpeedup < leastSpeedup) {
    const slow = no(`${measured}, less than a gain of ${leastSpeedup}`);
    return { simd128, relaxedSimd: slow, relaxedSimd8: slow, relaxedSpeedup };
  }
  const relaxedSimd = yes(measured);
  const relaxedSimd8 = isRight(255, 1)
    ? yes(`${measured}, and the dot product takes unsigned codes`)
    : no("this engine's relaxed dot product takes 7-bit codes only");
  return { simd128, relaxedSimd, relaxedSimd8, relaxedSpeedup };
}

/**
 * The activations to multiply codes of `bits` bits with.
 *
 * @param isExact - int16 even where int8 is faster: relative error below 5e-5 instead of about 6e-3.
 */
export function activationTypeFor(bits: LowBits, tiers: Tiers, isExact: boolean): ActivationType {
  const tier = bits === 8 ? tiers.relaxedSimd8 : tiers.relaxedSimd;
  return tier.isUsable && !isExact ? "int8" : "int16";
}

const smallMatrix = (activation: ActivationType) =>
  lowBitMatrix({ n: 128, k: 512, bits: 4, blockSize: 32, symmetric: true, activation });

const moduleOf = (activation: ActivationType) => {
  const { kernel } = smallMatrix(activation).product(1, noAddresses);
  return assembleKernels([kernel], { shared: false, maximumPages: probePages });
};
const noAddresses = { activations: 0, weights: 0, bias: 0, output: 0 };
const probePages = 4;
const validates = (activation: ActivationType) => WebAssembly.validate(moduleOf(activation));

/** A function that multiplies signed bytes with codes up to `largest`, `turns` times, and checks the last result. */
function dotProbe(): (largest: number, turns: number) => boolean {
  const code = new FunctionBuilder("dot", ["i32"]);
  const at = (address: number) => i32.const(address);
  code.repeat(code.parameter(0, "i32"), () => {
    const dot = i32x4.relaxed_dot_i8x16_i7x16_add_s(
      v128.load(at(0)),
      v128.load(at(16)),
      v128.load(at(32)),
    );
    code.do(v128.store(at(48), dot));
  });
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1 });
  const bytes = assembleModule([code], { shared: false, maximumPages: 1 });
  const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory } });
  const run = instance.exports.dot as (turns: number) => void;
  const signed = new Int8Array(memory.buffer, 0, 16);
  const codes = new Uint8Array(memory.buffer, 16, 16);
  const sums = new Int32Array(memory.buffer, 32, 8);
  return (largest, turns) => {
    // Extremes of one sign would saturate 16-bit sums of pairs; the others find wrong signs and orders.
    const cases = [
      (i: number) => [127, largest - (i & 1)],
      (i: number) => [-127, largest - (i & 1)],
      (i: number) => [i % 2 === 0 ? -128 : 127, largest],
      (i: number) => [((i * 37) % 255) - 127, (i * 53) % (largest + 1)],
    ];
    return cases.every((values) => {
      const expected = [1000, -1000, 7, 0];
      sums.set(expected);
      for (let i = 0; i < 16; i++) {
        const [a, b] = values(i);
        signed[i] = a;
        codes[i] = b;
        expected[i >> 2] += a * b;
      }
      run(turns);
      return expected.every((sum, lane) => sum === sums[4 + lane]);
    });
  };
}

/** Calls of a sample after which a clock that still stands is given up: some 50 ms. */
const mostCalls = 2 ** 15;

/**
 * Time of the int16 GEMV ÷ time of the int8 GEMV on a matrix in the cache, by the best of interleaved samples;
 * undefined when the clock stands still, as pages may see it that hide from fingerprinting.
 */
function measureSpeedup(now: () => number): number | undefined {
  const run = { int8: productRunner("int8"), int16: productRunner("int16") };
  const fastest = { int8: Infinity, int16: Infinity };
  // The first samples also give the engine the time to optimize.
  for (let sample = 0; sample < 12; sample++) {
    for (const activation of ["int8", "int16"] as const) {
      const start = now();
      let calls = 0;
      let elapsed = 0;
      while (elapsed < 1) {
        for (let i = 0; i < 16; i++) run[activation]();
        calls += 16;
        elapsed = now() - start;
        if (elapsed === 0 && calls >= mostCalls) return undefined;
      }
      if (sample > 0) fastest[activation] = Math.min(fastest[activation], elapsed / calls);
    }
  }
  return fastest.int16 / fastest.int8;
}

function productRunner(activation: ActivationType): () => void {
  const matrix = smallMatrix(activation);
  const { n, k } = matrix.shape;
  const memory = new WebAssembly.Memory({ initial: probePages, maximum: probePages });
  const module = new WebAssembly.Module(moduleOf(activation));
  const { exports } = new WebAssembly.Instance(module, { env: { memory } });
  const activations = 256;
  const weights = activations + activationBytes(1, k, activation);
  const output = weights + matrix.bytes;
  const scratch = output + 4 * n;
  const call = matrix.product(1, { activations, weights, bias: 0, output });
  writeTask(new DataView(memory.buffer), 0, call.kernel, call.values as never);
  const kernel = exports[call.kernel.name] as KernelFunction;
  return () => kernel(0, 0, call.items, scratch);
}
