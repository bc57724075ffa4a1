/**
 * Time of GPTQ for one layer, phase by phase, as a share of what the machine can multiply and add.
 */
import { type LayerStats, openAlgebra, parseFormat, quantizeWeight } from "../../src/index.ts";
import { peakGflops } from "./peak.ts";

export interface LayerPhase {
  readonly phase: string;
  readonly threads: number;
  readonly rows: number;
  readonly cols: number;
  readonly seconds: number;
  /** Seconds of processor time, which other work on the machine does not lengthen. */
  readonly cpuSeconds: number;
  /** By the wall clock; undefined for phases that are no arithmetic to speak of. */
  readonly gflops: number | undefined;
  /** Of the float64 peak of one core, measured in the same run, times threads. */
  readonly shareOfPeak: number | undefined;
}

export interface LayerShape {
  readonly rows: number;
  readonly cols: number;
  /** Calibration rows of the Hessian. */
  readonly tokens: number;
  readonly format: string;
}

/** Measures all phases with some number of threads. */
export async function measureLayer(shape: LayerShape, threads: number): Promise<LayerPhase[]> {
  const { rows, cols, tokens } = shape;
  const algebra = await openAlgebra({ threads });
  const peak = threads * peakGflops("float64");
  const phases: LayerPhase[] = [];
  const measure = async <R>(phase: string, flop: number, work: () => Promise<R> | R) => {
    const start = performance.now();
    const cpu = process.cpuUsage();
    const result = await work();
    const seconds = (performance.now() - start) / 1000;
    const { user, system } = process.cpuUsage(cpu);
    const gflops = flop ? flop / seconds / 1e9 : undefined;
    phases.push({
      phase,
      threads,
      rows,
      cols,
      seconds,
      cpuSeconds: (user + system) / 1e6,
      gflops,
      shareOfPeak: gflops && gflops / peak,
    });
    return result;
  };
  const random = uniform(1);
  const x = activations(random, tokens, cols);
  const columns = Float64Array.from(x, (_, i) => x[(i % tokens) * cols + Math.floor(i / tokens)]);
  const hessian = await measure(`xᵀx of ${tokens} rows`, 2 * tokens * cols * cols, () =>
    algebra.product(columns, x, cols, tokens, cols),
  );
  for (let i = 0; i < hessian.length; i++) hessian[i] *= 2 / tokens;
  const weight = { rows, cols, data: Float32Array.from({ length: rows * cols }, random) };
  const asked = { damping: 0.01, activationOrder: false, layer: "layer" };
  const factor = await measure("factor H + λI", cols ** 3 / 3, () =>
    algebra.factor(hessian, asked),
  );
  const stats = { layer: "layer", tokens, hessian } as LayerStats;
  const quantized = (grid: "mse" | "min-max") => () =>
    quantizeWeight(
      {
        weight,
        format: parseFormat(shape.format),
        stats,
        options: { grid, activationOrder: false, damping: 0.01 },
        algebra,
      },
      "gptq",
    );
  const flop = rows * cols * cols;
  await measure(`gptq ${shape.format}, min-max`, flop, quantized("min-max"));
  await measure(`gptq ${shape.format}, searched grids`, flop, quantized("mse"));
  await measure("tr(Δ H Δᵀ)", flop, () => algebra.quadraticForm(weight, hessian));
  factor.release();
  await algebra.release();
  return phases;
}

function uniform(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return state / 2 ** 31;
  };
}

/** Rows with a shared direction, so that the Hessian is no diagonal. */
function activations(random: () => number, tokens: number, cols: number): Float64Array {
  const x = new Float64Array(tokens * cols);
  for (let row = 0; row < tokens; row++) {
    const common = random();
    for (let k = 0; k < cols; k++) x[row * cols + k] = random() + (common * ((7 * k) % 13)) / 13;
  }
  return x;
}
