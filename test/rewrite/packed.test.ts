import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { formatGrid, integerBits, integerFormat } from "../../src/core/format.ts";
import { findLayers } from "../../src/layers/index.ts";
import { attribute, encodeModel, type Model, openModel } from "../../src/onnx/index.ts";
import { rewriteModel, supports, targets, weightBytes } from "../../src/rewrite/index.ts";
import { createRuntime, type Runtime } from "../../src/runtime/index.ts";
import { normalMatrix } from "../quantize/samples.ts";
import { graph } from "../support/graph-builder.ts";
import { ortBuilds, runInProcess } from "./ort-processes.ts";
import { quantizedLayer, usesModel } from "./quantized-model.ts";
import { numbersOf, relativeError } from "./uses.ts";

let runtime: Runtime;
beforeAll(() => {
  runtime = createRuntime({ threads: 2 });
});
afterAll(() => runtime.close());

const { portable } = targets;

describe("the packed body", () => {
  for (const { opset, ...shape } of [
    { n: 37, k: 172, opset: 18 },
    { n: 24, k: 64, opset: 12 },
    { n: 24, k: 120, opset: 9 },
  ]) {
    test.each([2, 3, 5])(
      `%i bits, ${shape.n} × ${shape.k}, opset ${opset}: error < 1e-4`,
      async (bits) => {
        const formats = formatGrid([bits], [0, 16, 32], "float16");
        const model = await usesModel({
          target: portable,
          formats,
          shape,
          opset,
          functionBody: "packed",
        });
        for (const optimize of ["none", "all"] as const) {
          const session = await runtime.open(model.quantized, { optimize });
          const results = await session.run(model.feeds, [...model.expected.keys()]);
          for (const [output, values] of model.expected) {
            expect(relativeError(numbersOf(results[output]), values)).toBeLessThan(1e-4);
          }
          await session.release();
        }
      },
    );
  }
});

describe("what ONNX Runtime makes of the bodies when it loads the model", () => {
  const shape = { n: 64, k: 256 };
  async function load(
    functionBody: "folded" | "packed",
    rows: number | string,
    symmetric: boolean,
  ): Promise<Model> {
    const model = graph()
      .input("x", "float32", [rows, shape.k])
      .initializer("w", [shape.k, shape.n], normalMatrix(shape.k, shape.n, 1).data)
      .node("MatMul", ["x", "w"], ["y"])
      .output("y", "float32")
      .model();
    const [layer] = findLayers(model.graph).layers;
    const format = integerFormat({ bits: 3, blockSize: 32, symmetric });
    const quantized = await quantizedLayer(layer, format);
    const bytes = await encodeModel(
      rewriteModel(model, [quantized], { target: "portable", functionBody }),
    );
    const data = new Float32Array(2 * shape.k).fill(1);
    const feeds = { x: { dtype: "float32" as const, shape: [2, shape.k], data } };
    const job = { model: bytes, optimize: "all" as const, feeds, returnsOptimized: true };
    const [result] = await runInProcess(ortBuilds[0], [job]);
    if ("error" in result || !result.optimized) throw new Error(JSON.stringify(result));
    return openModel(result.optimized);
  }
  const constantBytes = (model: Model) =>
    [...model.graph.initializers.values()].reduce((sum, { byteLength }) => sum + byteLength, 0);
  const floatBytes = shape.n * shape.k * 4;

  test("folded: one float matrix and a plain product", async () => {
    for (const symmetric of [true, false]) {
      const model = await load("folded", "rows", symmetric);
      expect(constantBytes(model)).toBeGreaterThanOrEqual(floatBytes);
      expect(model.graph.nodes.map(({ opType }) => opType)).toEqual(["MatMul"]);
    }
  });

  test("packed: stays packed, even where the model declares the activation's whole shape", async () => {
    for (const symmetric of [true, false]) {
      for (const rows of ["rows", 2]) {
        const model = await load("packed", rows, symmetric);
        expect(constantBytes(model)).toBeLessThan(floatBytes / 4);
      }
    }
  });
});

describe("functions", () => {
  const shape = { n: 24, k: 120 };
  async function functionsOf(opset: number, blockSizes: readonly number[]) {
    const formats = formatGrid([3], blockSizes);
    const model = await usesModel({ target: portable, formats, shape, opset });
    return model.quantized.functions;
  }

  test("one per variant, not per layer", async () => {
    expect(await functionsOf(18, [0, 32, 64])).toEqual([
      "bitloom::MatMulPacked3Symmetric",
      "bitloom::GatherPacked3Symmetric",
      "bitloom::Unpacked3Symmetric",
      "bitloom::MatMulPacked3",
      "bitloom::GatherPacked3",
      "bitloom::Unpacked3",
      "bitloom::MatMulPacked3SymmetricRagged",
      "bitloom::GatherPacked3SymmetricRagged",
      "bitloom::Unpacked3SymmetricRagged",
      "bitloom::MatMulPacked3Ragged",
      "bitloom::GatherPacked3Ragged",
      "bitloom::Unpacked3Ragged",
    ]);
  });

  test("sizes are part of the name where an old opset cannot pass them", async () => {
    expect(await functionsOf(9, [32])).toEqual([
      "bitloom::MatMulPacked3SymmetricRaggedK120",
      "bitloom::GatherPacked3SymmetricRaggedK120",
      "bitloom::Unpacked3SymmetricRaggedK120",
      "bitloom::MatMulPacked3RaggedK120B4",
      "bitloom::GatherPacked3RaggedK120B4",
      "bitloom::Unpacked3RaggedK120B4",
    ]);
  });

  /** A product and an embedding of `rows` × 16 in 3 bits, with the body that "auto" chooses. */
  function chosenBody(productRows: number, tableRows: number): "folded" | "packed" {
    const bytes = () => Promise.reject(new Error("no weight is read"));
    const tensor = (name: string, rows: number) =>
      ({ name, dtype: "float32", shape: [rows, 16], byteLength: rows * 64, bytes }) as const;
    const model = graph()
      .input("x", "float32", ["rows", 16])
      .input("ids", "int64", ["ids"])
      .tensor(tensor("table", tableRows))
      .tensor(tensor("w", productRows))
      .node("Gather", ["table", "ids"], ["rows"])
      .node("Gemm", ["x", "w"], ["y"], { transB: attribute.int(1) })
      .output("rows", "float32")
      .output("y", "float32")
      .model();
    const format = integerFormat({ bits: 3, blockSize: 16, symmetric: true });
    const weight = () => Promise.reject(new Error("no weight is read"));
    const quantized = findLayers(model.graph).layers.map((layer) => ({ layer, format, weight }));
    const write = (functionBody: "auto" | "folded") =>
      rewriteModel(model, quantized, { target: "portable", functionBody }).fileBytes;
    return write("auto") === write("folded") ? "folded" : "packed";
  }

  test("are folded while the products' weights stay under 256 MB; embeddings do not count", () => {
    expect(chosenBody(3_900_000, 5_000_000)).toBe("folded");
    expect(chosenBody(4_100_000, 16)).toBe("packed");
  });
});

test("whole rows are padded to 8 codes; blocks are not", () => {
  const layer = { id: "l", n: 2, k: 9, dtype: "float32", uses: [{ opType: "MatMul" }] };
  const bytes = (bits: number, blockSize: number) =>
    weightBytes(
      portable,
      layer as unknown as Parameters<typeof weightBytes>[1],
      integerFormat({ bits, blockSize, symmetric: true }),
      18,
    );
  for (const bits of integerBits) {
    expect(bytes(bits, 0)).toBe(2 * (2 * bits + 2));
    expect(bytes(bits, 16)).toBe(2 * (2 * bits + 2));
  }
});

test("below opset 9 there are no functions", () => {
  const layer = { id: "l", n: 2, k: 16, dtype: "float32", uses: [{ opType: "MatMul" }] };
  const format = integerFormat({ bits: 3, blockSize: 16, symmetric: true });
  type LayerLike = Parameters<typeof supports>[1];
  expect(supports(portable, layer as unknown as LayerLike, format, 8)).toBe(
    "bitloom functions need opset 9; the model imports 8",
  );
  expect(supports(portable, layer as unknown as LayerLike, format, 9)).toBe(true);
});
