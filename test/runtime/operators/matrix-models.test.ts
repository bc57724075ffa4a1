/**
 * Whole quantized models: every layer in another format, on the kernels and on ONNX Runtime.
 */
import { existsSync } from "node:fs";
import { afterAll, describe, expect, test } from "vitest";
import type { Feeds } from "../../../src/core/feeds.ts";
import { parseFormat } from "../../../src/core/format.ts";
import { findLayers } from "../../../src/layers/index.ts";
import { openModel } from "../../../src/onnx/index.ts";
import { rewriteModel, supports, type TargetName, targets } from "../../../src/rewrite/index.ts";
import { createSession } from "../../../src/runtime/create-session.ts";
import { createRuntime } from "../../../src/runtime/index.ts";
import { quantizedLayer } from "../../rewrite/quantized-model.ts";
import { numbersOf, relativeError } from "../../rewrite/uses.ts";
import { tensorsOf } from "./matrix-case.ts";

const runtime = createRuntime();
afterAll(() => runtime.close());

const feeds: Feeds = {
  input_ids: {
    dtype: "int64",
    shape: [1, 32],
    data: BigInt64Array.from({ length: 32 }, (_, i) => BigInt((i * 37 + 5) % 512)),
  },
};

const models = [
  ["tiny-lm", "calibration/tiny-lm/model.onnx"],
  ["stories260k (in ../shared/models)", "../shared/models/stories260k/model.onnx"],
] as const;

const mixes: Readonly<Record<TargetName, readonly string[]>> = {
  portable: ["int4-b32", "int3-b32-asym", "int8-b64", "int6-b32-asym", "int5-row", "int2-b16"],
  ort: ["int4-b32-s32", "int8-b64-asym-s32", "int6-b32-s32", "int2-b32-asym-s32"],
  qdq: ["int8-row", "int8-row-asym"],
};

describe.each(models)("%s", (_, path) => {
  describe.skipIf(!existsSync(path))("is there", () => {
    const precisions = [
      ["exact", 1e-3],
      ["fast", 0.1],
    ] as const;
    test.each(Object.keys(mixes) as TargetName[])(
      "%s, mixed formats: |difference| of the logits ≤ 1e-3·max|y|, fast 0.1",
      async (target) => {
        const model = await openModel(path);
        const { layers } = findLayers(model.graph);
        const formats = mixes[target].map(parseFormat);
        const opset = model.opsets.get("") ?? 0;
        const chosen = await Promise.all(
          layers.map((layer, at) => {
            const rotated = formats.map((__, i) => formats[(at + i) % formats.length]);
            const format = rotated.find(
              (each) => supports(targets[target], layer, each, opset) === true,
            );
            return format && quantizedLayer(layer, format);
          }),
        );
        // The reference keeps its activations in float32, where the target asks for 8 bits.
        const exactTarget = { ...targets[target], accuracyLevel: undefined };
        const quantized = rewriteModel(
          model,
          chosen.filter((layer) => layer !== undefined),
          { target: exactTarget },
        );
        const reference = await runtime.open(quantized, { optimize: "none" });
        const expected = await reference.run(feeds);
        await reference.release();
        for (const [precision, bound] of precisions) {
          for (const threads of [1, 2]) {
            const session = await createSession(quantized, { precision, threads });
            const results = await session.run(tensorsOf(feeds));
            await session.release();
            for (const [name, tensor] of Object.entries(expected)) {
              const { type, dims, data } = results[name];
              const numbers = numbersOf({ dtype: type, shape: dims, data });
              const error = relativeError(numbers, numbersOf(tensor));
              expect(error, `${name}, ${precision}, ${threads} threads`).toBeLessThan(bound);
            }
          }
        }
      },
      30_000,
    );
  });
});
