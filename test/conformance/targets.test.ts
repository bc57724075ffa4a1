/**
 * What every registered target must do: every format its `supports` accepts computes what the dequantized weight
 * computes, in ONNX Runtime as written and fully optimised, whatever the layer's use and the model's opset.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  float16Format,
  formatGrid,
  integerBits,
  type WeightFormat,
} from "../../src/core/format.ts";
import type { Layer } from "../../src/core/layer.ts";
import { encodeModel, openModel } from "../../src/onnx/index.ts";
import {
  measuredLike,
  supports,
  type Target,
  targets,
  weightBytes,
} from "../../src/rewrite/index.ts";
import { createRuntime, type Runtime } from "../../src/runtime/index.ts";
import { addedBytes, type UsesModelOptions, usesModel } from "../rewrite/quantized-model.ts";
import { numbersOf, relativeError } from "../rewrite/uses.ts";

let runtime: Runtime;
beforeAll(() => {
  runtime = createRuntime({ threads: 2 });
});
afterAll(() => runtime.close());

const everyBlock = [0, 16, 32, 64, 128, 256];
const fewBlocks = [0, 32, 128];

interface Case {
  readonly n: number;
  readonly k: number;
  readonly opset: number;
  readonly blocks: readonly number[];
}

/** Whole and ragged blocks, N off the multiples that kernels like, and every opset where something changes. */
const cases: readonly Case[] = [
  { n: 37, k: 172, opset: 18, blocks: everyBlock },
  { n: 24, k: 64, opset: 21, blocks: everyBlock },
  { n: 37, k: 172, opset: 25, blocks: everyBlock },
  { n: 24, k: 120, opset: 9, blocks: fewBlocks },
  { n: 24, k: 96, opset: 10, blocks: fewBlocks },
  { n: 37, k: 64, opset: 11, blocks: fewBlocks },
  { n: 24, k: 172, opset: 12, blocks: fewBlocks },
  { n: 37, k: 96, opset: 13, blocks: fewBlocks },
  { n: 24, k: 172, opset: 17, blocks: fewBlocks },
  { n: 37, k: 96, opset: 23, blocks: fewBlocks },
  { n: 1, k: 20, opset: 21, blocks: fewBlocks },
];

/** Largest error over all outputs, as written and optimised; the offenders by name. */
async function measure(options: UsesModelOptions, bound: number): Promise<string[]> {
  const { float, quantized, feeds, expected, predictedBytes } = await usesModel(options);
  const written = await openModel(await encodeModel(quantized));
  expect(addedBytes(float, written)).toBe(predictedBytes);
  const offenders = (["none", "all"] as const).map(async (optimize, worker) => {
    const session = await runtime.open(written, { optimize, worker });
    const results = await session.run(feeds, [...expected.keys()]);
    await session.release();
    return [...expected].flatMap(([output, values]) => {
      const error = relativeError(numbersOf(results[output]), values);
      return error < bound ? [] : [`${output}, optimisation ${optimize}: ${error}`];
    });
  });
  return (await Promise.all(offenders)).flat();
}

/** A layer as far as `supports` looks at it. */
const layerOf = ({ n, k }: { n: number; k: number }, ...opTypes: readonly string[]): Layer => {
  const layer: Pick<Layer, "id" | "n" | "k" | "dtype"> = { id: "layer", n, k, dtype: "float32" };
  return { ...layer, uses: opTypes.map((opType) => ({ opType })) } as unknown as Layer;
};

const exact = (target: Target): Target => ({ ...target, accuracyLevel: undefined });

describe("dequantized weights in place of a target's own forms", () => {
  test.each([
    ["float32", 1e-4],
    ["float16", 1e-3],
  ] as const)("%s graph, error < %d", async (dtype, bound) => {
    const formats = [...formatGrid(integerBits, [0, 32]), float16Format];
    const target = measuredLike(exact(targets.portable));
    const options = { target, formats, shape: { n: 37, k: 172 }, opset: 18, dtype };
    expect(await measure(options, bound)).toEqual([]);
  });

  test("not where the target's kernels round activations", () => {
    expect(measuredLike(targets.ort)).toBe(targets.ort);
  });
});

describe.each(Object.entries(targets) as [string, Target][])("%s", (_name, target) => {
  test("describes itself", () => {
    expect(target.summary).toMatch(/^\S.*[^.]$/);
    expect(target.source).not.toBe("");
  });

  describe("computes the dequantized weight's results, error < 1e-4", () => {
    for (const { n, k, opset, blocks } of cases) {
      for (const bits of integerBits) {
        const formats = formatGrid([bits], blocks, target.scaleType);
        const accepts = (format: WeightFormat) =>
          ["MatMul", "Gather", "Conv"].some(
            (opType) => supports(target, layerOf({ n, k }, opType), format, opset) === true,
          );
        if (!formats.some(accepts)) continue;
        test(`int${bits}, ${n} × ${k}, opset ${opset}`, async () => {
          const options = { target: exact(target), formats, shape: { n, k }, opset };
          expect(await measure(options, 1e-4)).toEqual([]);
        });
      }
    }
  });

  test("float16 weights, error < 1e-4 against the rounded weight", async () => {
    for (const opset of [9, 18]) {
      const shape = { n: 37, k: 172 };
      const options = { target: exact(target), formats: [float16Format], shape, opset };
      expect(await measure(options, 1e-4)).toEqual([]);
    }
  });

  test("a float16 graph, error < 1e-3: the result is rounded to float16", async () => {
    const formats = [...formatGrid(integerBits, [0, 32], target.scaleType), float16Format];
    const shape = { n: 37, k: 172 };
    for (const opset of [18, 25]) {
      const options = { target: exact(target), formats, shape, opset, dtype: "float16" } as const;
      expect(await measure(options, 1e-3)).toEqual([]);
    }
  });

  test("float32 scales, the fallback for weights that float16 scales cannot hold", async () => {
    const formats = formatGrid(integerBits, [0, 32], "float32");
    const options = { target: exact(target), formats, shape: { n: 37, k: 96 }, opset: 21 };
    expect(await measure(options, 1e-4)).toEqual([]);
  });

  test("says why where it cannot, and never throws", () => {
    const formats = formatGrid(integerBits, everyBlock, target.scaleType);
    for (let opset = 1; opset <= 25; opset++) {
      for (const format of [...formats, float16Format]) {
        for (const uses of [["MatMul"], ["Gather"], ["Gather", "MatMul"], ["Gemm"], ["Conv"]]) {
          const layer = layerOf({ n: 37, k: 172 }, ...uses);
          const answer = supports(target, layer, format, opset);
          if (answer === true) expect(weightBytes(target, layer, format, opset)).toBeGreaterThan(0);
          else expect(answer).toMatch(/^\S.*[^.]$/);
        }
      }
    }
  });
});
