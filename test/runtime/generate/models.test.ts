/** Whole models: our session, with caches of every kind, against ONNX Runtime. */
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { type Model, openModel } from "../../../src/onnx/index.ts";
import {
  createRuntime,
  createSession,
  type GenerationSession,
  generateTokens,
} from "../../../src/runtime/index.ts";
import { tensorOf } from "../../../src/runtime/session/tensor.ts";
import { tinyLm } from "../../support/command.ts";
import { llamaFused, llamaPlain, quantizedTransformer } from "../../support/transformers/index.ts";

const prompt = [7, 3, 99, 12, 45];

async function generate(session: GenerationSession): Promise<number[]> {
  const tokens: number[] = [];
  for await (const token of generateTokens(session, prompt, { maxNewTokens: 16 })) {
    tokens.push(token);
  }
  return tokens;
}

/** Greedy tokens of ONNX Runtime, behind the same interface. */
async function reference(model: Model): Promise<number[]> {
  const runtime = createRuntime({ threads: 1 });
  try {
    const session = await runtime.open(model);
    return await generate({
      outputNames: session.outputNames,
      inputMetadata: model.graph.inputs,
      async run(feeds, fetches) {
        const plain = Object.entries(feeds).map(([name, { type, dims, data }]) => [
          name,
          { dtype: type, shape: dims, data },
        ]);
        const results = await session.run(Object.fromEntries(plain), fetches);
        return Object.fromEntries(
          Object.entries(results).map(([name, tensor]) => [name, tensorOf(tensor)]),
        );
      },
    });
  } finally {
    await runtime.close();
  }
}

const models: readonly (readonly [string, () => Promise<Model> | Model])[] = [
  ["tiny-lm", () => openModel(join(tinyLm, "model.onnx"))],
  ["llama, plain", () => llamaPlain()],
  ["llama, plain, no caches", () => llamaPlain({ cache: false })],
  ["llama, fused", () => llamaFused()],
  ["llama, fused, float16", () => llamaFused({ dtype: "float16" })],
  ["llama, fused, 4 and 8 bits", () => mixed(llamaFused())],
  ["llama, plain, 3 and 6 bits", () => mixed(llamaPlain(), ["int3-b32", "int6-b32"])],
];

const mixed = (model: Model, formats = ["int4-b32", "int8-b32"]) =>
  quantizedTransformer(model, { formats }).model;

describe("greedy tokens are those of ONNX Runtime", () => {
  test.each(models)("%s", async (_, make) => {
    const model = await make();
    const wanted = await reference(model);
    expect(new Set(wanted).size).toBeGreaterThan(1);
    for (const caches of ["internal", "external"] as const) {
      const session = await createSession(model, { precision: "exact", threads: 1, caches });
      try {
        expect(await generate(session)).toEqual(wanted);
      } finally {
        await session.release();
      }
    }
  });
});
