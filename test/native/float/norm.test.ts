import { describe, expect, test } from "vitest";
import { type NormName, normKernels, planNorm } from "../../../native/float/norm.ts";
import { runKernel } from "../harness.ts";
import { expectClose, floats, runSplit } from "./float-cases.ts";

interface Operands {
  readonly skip?: Float32Array;
  readonly skipBias?: Float32Array;
  readonly scale?: Float32Array;
  readonly bias?: Float32Array;
  readonly sum?: Float32Array;
}

/** The rows one by one in float64; the residual sum is rounded as the graph rounds it. */
function reference(
  name: NormName,
  input: Float32Array,
  length: number,
  epsilon: number,
  { skip, skipBias, scale, bias }: Operands,
) {
  const sum = Float32Array.from(input, (x, at) => {
    const residual = skip ? Math.fround(x + skip[at % skip.length]) : x;
    return skip && skipBias ? Math.fround(residual + skipBias[at % length]) : residual;
  });
  const output: number[] = [];
  for (let start = 0; start < sum.length; start += length) {
    const row = [...sum.subarray(start, start + length)];
    const mean = name === "layer-norm" ? row.reduce((total, x) => total + x, 0) / length : 0;
    const variance = row.reduce((total, x) => total + (x - mean) ** 2, 0) / length;
    const spread = Math.sqrt(variance + epsilon);
    for (const [at, x] of row.entries()) {
      output.push(((x - mean) / spread) * (scale?.[at] ?? 1) + (scale && bias ? bias[at] : 0));
    }
  }
  return { sum, output };
}

const epsilon = Math.fround(1e-5);

describe.each(["rms-norm", "layer-norm"] as NormName[])("%s", (name) => {
  const check = (rows: number, length: number, operands: Operands, offset = 0) => {
    const input = floats(rows * length, -3 + offset, 3 + offset);
    const output = new Float32Array(input.length);
    const expected = reference(name, input, length, epsilon, operands);
    const skipRows = operands.skip ? operands.skip.length / length : rows;
    const missing = ["skip", "skipBias", "scale", "bias", "sum"].filter(
      (key) => !(key in operands),
    );
    runSplit({
      kernel: normKernels[name],
      plan: planNorm(rows, length, epsilon, skipRows),
      arrays: { input, output, ...operands },
      values: Object.fromEntries(missing.map((key) => [key, 0])),
      outputs: operands.sum ? ["output", "sum"] : ["output"],
    });
    expectClose(output, expected.output, (want, at) => {
      const bias = operands.scale && operands.bias ? operands.bias[at % length] : 0;
      return 4 * 2 ** -24 * (Math.abs(want - bias) + Math.abs(want));
    });
    if (operands.sum) expect(operands.sum).toEqual(expected.sum);
  };

  test("|error| ≤ 4·2⁻²⁴·(|y − bias| + |y|): every length and set of operands", () => {
    for (const length of [1, 3, 4, 7, 64, 769]) {
      const rows = 5;
      const scale = floats(length, 0.5, 2, 2);
      const bias = floats(length, -1, 1, 3);
      const skip = floats(rows * length, -2, 2, 4);
      const skipBias = floats(length, -1, 1, 5);
      const sum = new Float32Array(rows * length);
      check(rows, length, {});
      check(rows, length, { scale });
      check(rows, length, { scale, bias });
      check(rows, length, { scale, skip });
      check(rows, length, { scale, skip, sum });
      check(rows, length, { scale, bias, skip: floats(length, -2, 2, 6), skipBias, sum });
    }
  });

  test("a mean a thousand times the spread keeps the bound", () => {
    const scale = floats(512, 0.5, 2, 2);
    check(3, 512, { scale }, 3000);
  });

  test("in place, with the sum over the input", () => {
    const [rows, length] = [4, 37];
    const scale = floats(length, 0.5, 2, 2);
    const skip = floats(rows * length, -2, 2, 4);
    const input = floats(rows * length);
    const { sum, output } = reference(name, input, length, epsilon, { scale, skip });
    const plan = planNorm(rows, length, epsilon);
    const run = { kernel: normKernels[name], items: plan.items };
    const values = { ...plan.values, skipBias: 0, bias: 0 };
    const residual = input.slice();
    const normalised = skip.slice();
    const arrays = { input: residual, skip: normalised, scale, output: normalised, sum: residual };
    runKernel({ ...run, values, arrays });
    expect(residual).toEqual(sum);
    expectClose(normalised, output, (want) => 8 * 2 ** -24 * Math.abs(want));
  });

  test("a row of zeros gives zeros", () => {
    const input = new Float32Array(10);
    const output = new Float32Array(10).fill(7);
    const plan = planNorm(1, 10, epsilon);
    const values = { skip: 0, skipBias: 0, scale: 0, bias: 0, sum: 0 };
    const kernel = normKernels[name];
    runSplit({ kernel, plan, values, arrays: { input, output }, outputs: ["output"] });
    expect([...output]).toEqual(Array(10).fill(0));
  });
});
