/**
 * The fastest that one core multiplies and adds in vectors of 128 bits: chains in registers, nothing else.
 */
import {
  assembleModule,
  FunctionBuilder,
  f32x4,
  f64x2,
  v128,
} from "../../native/assembler/index.ts";

/** Independent chains: enough to hide the latency of an addition, few enough for the 16 registers. */
const chains = 10;
const turns = 2_000_000;

/** GFLOP/s of multiplications and additions, the best of a few samples. */
export function peakGflops(type: "float32" | "float64"): number {
  const lanes = type === "float32" ? f32x4 : f64x2;
  const code = new FunctionBuilder("peak", ["i32"]);
  const sums = code.locals(chains, "v128");
  const factor = code.local("v128", v128.load(code.parameter(0, "i32")));
  const addend = code.local("v128", v128.load(code.parameter(0, "i32"), 16));
  code.repeat(turns, () => {
    for (const sum of sums) sum.set(lanes.add(lanes.mul(sum, factor), addend));
  });
  // Every chain counts, or the engine would leave it out.
  for (const sum of sums) addend.set(lanes.add(addend, sum));
  code.do(v128.store(code.parameter(0, "i32"), addend, 32));
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1 });
  const bytes = assembleModule([code], { shared: false, maximumPages: 1 });
  const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory } });
  const run = instance.exports.peak as (address: number) => void;
  let fastestMs = Number.POSITIVE_INFINITY;
  for (let sample = 0; sample < 8; sample++) {
    const start = performance.now();
    run(64);
    fastestMs = Math.min(fastestMs, performance.now() - start);
  }
  const perTurn = 2 * chains * (type === "float32" ? 4 : 2);
  return (perTurn * turns) / fastestMs / 1e6;
}
