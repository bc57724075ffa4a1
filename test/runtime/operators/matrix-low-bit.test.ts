/**
 * Low-bit products and lookups of rewritten files, on the kernels alone, against float64 results of the rounded weights.
 */
import { describe, expect, test } from "vitest";
import type { Feeds } from "../../../src/core/feeds.ts";
import { formatGrid, integerBits, type WeightFormat } from "../../../src/core/format.ts";
import type { Model } from "../../../src/onnx/index.ts";
import { type TargetName, targets } from "../../../src/rewrite/index.ts";
import { createSession } from "../../../src/runtime/create-session.ts";
import type { TensorLike } from "../../../src/runtime/session/tensor.ts";
import { usesModel } from "../../rewrite/quantized-model.ts";
import { numbersOf, relativeError } from "../../rewrite/uses.ts";

const precisions = [
  ["exact", 1e-3],
  ["fast", 3e-2],
] as const;

const tensorsOf = (feeds: Feeds): Record<string, TensorLike> =>
  Object.fromEntries(
    Object.entries(feeds).map(([name, { dtype, shape, data }]) => [
      name,
      { type: dtype, dims: shape, data: data as Float32Array },
    ]),
  );

async function runOnKernels(model: Model, feeds: Feeds, precision: "exact" | "fast") {
  const session = await createSession(model, { precision, threads: 1, fallback: "none" });
  try {
    return await session.run(tensorsOf(feeds));
  } finally {
    await session.release();
  }
}

interface Case {
  readonly target: TargetName;
  readonly formats: readonly WeightFormat[];
  readonly shape: { readonly n: number; readonly k: number };
  readonly opset: number;
  readonly dtype?: "float32" | "float16";
}

const every = (blocks: readonly number[], scaleType: "float16" | "float32" = "float16") =>
  formatGrid(integerBits, blocks, scaleType);

const cases: readonly Case[] = [
  { target: "portable", formats: every([16, 32, 0]), shape: { n: 37, k: 100 }, opset: 18 },
  { target: "portable", formats: every([64]), shape: { n: 16, k: 128 }, opset: 9 },
  { target: "portable", formats: every([32], "float32"), shape: { n: 1, k: 44 }, opset: 11 },
  { target: "portable", formats: every([128, 256]), shape: { n: 33, k: 300 }, opset: 21 },
  {
    target: "portable",
    formats: every([32]),
    shape: { n: 24, k: 64 },
    opset: 18,
    dtype: "float16",
  },
  { target: "ort", formats: every([32, 128], "float32"), shape: { n: 37, k: 256 }, opset: 18 },
  { target: "qdq", formats: every([32, 0]), shape: { n: 37, k: 100 }, opset: 25 },
  { target: "qdq", formats: every([0, 32]), shape: { n: 6, k: 101 }, opset: 25 },
  { target: "qdq", formats: every([0]), shape: { n: 20, k: 64 }, opset: 13 },
];

const label = ({ target, shape, opset, dtype = "float32" }: Case) =>
  `${target}, opset ${opset}, ${dtype}, [${shape.n}, ${shape.k}]`;

describe.each(precisions)("%s", (precision, bound) => {
  // A single output may cancel out, so that no bound relative to it holds for 8-bit activations.
  const bounded = cases.filter(({ shape }) => precision === "exact" || shape.n > 1);
  test.each(bounded.map((each) => [label(each), each] as const))(
    `%s: |error| ≤ ${bound}·max|y| in every use and format`,
    async (_, { target, ...options }) => {
      const model = await usesModel({ target: targets[target], ...options });
      const results = await runOnKernels(model.quantized, model.feeds, precision);
      expect(model.expected.size).toBeGreaterThan(0);
      // float16 results are rounded once more.
      const allowed = options.dtype === "float16" ? bound + 1e-3 : bound;
      const wrong = [...model.expected].flatMap(([name, expected]) => {
        const { type, dims, data } = results[name];
        const numbers = numbersOf({ dtype: type, shape: dims, data });
        const error = relativeError(numbers, expected);
        return error <= allowed ? [] : [`${name}: ${error}`];
      });
      expect(wrong).toEqual([]);
    },
    20_000,
  );
});
