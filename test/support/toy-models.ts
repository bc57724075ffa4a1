/**
 * Small models and hand-made data sets for stages that run graphs. Invariant: everything follows from the options;
 * weights are normal with the standard deviation 1/√K unless asked to be exactly representable.
 */
import type { Batch, Dataset } from "../../src/core/dataset.ts";
import type { Feeds, FeedTensor } from "../../src/core/feeds.ts";
import { createRandom } from "../../src/core/random.ts";
import { fromFloat16Bits, toFloat16Bits } from "../../src/core/tensor.ts";
import { attribute, editModel, type Model, memoryTensor } from "../../src/onnx/index.ts";
import { type GraphBuilder, graph } from "./graph-builder.ts";

export type ToyFloat = "float32" | "float16";

export interface ToyOptions {
  readonly opset?: number;
  readonly dtype?: ToyFloat;
  readonly seed?: number;
  /** The head multiplies by the embedding's transpose. */
  readonly tied?: boolean;
  /** Every weight of K a multiple of 16 is exact in int4-b16 and int8-b16, symmetric. */
  readonly exact?: boolean;
}

export const toySizes = { vocabulary: 24, width: 16, hidden: 32, blocks: 2 } as const;

/** Normal numbers with the standard deviation `deviation`. */
export function normals(count: number, seed: number, deviation = 1): Float32Array {
  const random = createRandom(seed);
  return Float32Array.from({ length: count }, () => deviation * random.normal());
}

/** Codes −8 … 7 at step 1/32; the first of every 16 rows of the stored [K, N] is −8, which fixes the block's scale. */
function exactWeights(k: number, n: number, seed: number): Float32Array {
  const random = createRandom(seed);
  return Float32Array.from({ length: k * n }, (_, i) =>
    Math.floor(i / n) % 16 === 0 ? -8 / 32 : (random.integer(16) - 8) / 32,
  );
}

/** Adds a float initializer in the element type. */
export function floats(
  builder: GraphBuilder,
  name: string,
  shape: readonly number[],
  data: Float32Array,
  dtype: ToyFloat = "float32",
): void {
  if (dtype === "float32") builder.initializer(name, shape, data);
  else builder.initializer(name, shape, Uint16Array.from(data, toFloat16Bits), "float16");
}

/**
 * input_ids int64 [batch, sequence] → logits [batch, sequence, vocabulary]: an embedding, two blocks of single-head
 * attention (no mask) and a two-layer perceptron on the residual stream, a head. Layers: "embed", "q0", "k0" …
 */
export function toyTransformer(options: ToyOptions = {}): Model {
  const { opset = 18, dtype = "float32", seed = 1, tied = false, exact = false } = options;
  const { vocabulary, width, hidden, blocks } = toySizes;
  const builder = graph({ opset })
    .input("input_ids", "int64", ["batch", "sequence"])
    .output("logits", dtype, ["batch", "sequence", vocabulary]);
  let count = 0;
  const weight = (name: string, k: number, n: number) => {
    const at = seed * 1000 + count++;
    const data = exact ? exactWeights(k, n, at) : normals(k * n, at, 1 / Math.sqrt(k));
    floats(builder, `${name}.weight`, [k, n], data, dtype);
    return `${name}.weight`;
  };
  const matMul = (name: string, x: string, k: number, n: number) => {
    builder.node("MatMul", [x, weight(name, k, n)], [`${name}.out`], {}, name);
    return `${name}.out`;
  };
  // The table is stored [vocabulary, width]: rows of 16, each starting with the extreme code when exact.
  const table = exact
    ? Float32Array.from(normals(vocabulary * width, seed), (w, i) =>
        i % 16 === 0 ? -8 / 32 : Math.max(-8, Math.min(7, Math.round(4 * w))) / 32,
      )
    : normals(vocabulary * width, seed);
  floats(builder, "table", [vocabulary, width], table, dtype);
  builder.node("Gather", ["table", "input_ids"], ["h0"], {}, "embed");
  for (let b = 0; b < blocks; b++) {
    const h = `h${b}`;
    const [q, k, v] = ["q", "k", "v"].map((name) => matMul(`${name}${b}`, h, width, width));
    const turned = attribute.ints([0, 2, 1]);
    builder.node("Transpose", [k], [`kt${b}`], { perm: turned });
    builder.node("MatMul", [q, `kt${b}`], [`scores${b}`]);
    builder.node("Softmax", [`scores${b}`], [`probs${b}`], { axis: attribute.int(-1) });
    builder.node("MatMul", [`probs${b}`, v], [`mixed${b}`]);
    builder.node("Add", [h, matMul(`o${b}`, `mixed${b}`, width, width)], [`mid${b}`]);
    builder.node("Relu", [matMul(`up${b}`, `mid${b}`, width, hidden)], [`act${b}`]);
    const down = matMul(`down${b}`, `act${b}`, hidden, width);
    builder.node("Add", [`mid${b}`, down], [`h${b + 1}`]);
  }
  if (tied) {
    builder.node("Transpose", ["table"], ["table.t"]);
    builder.node("MatMul", [`h${blocks}`, "table.t"], ["logits"], {}, "head");
  } else {
    const head = weight("head", width, vocabulary);
    builder.node("MatMul", [`h${blocks}`, head], ["logits"], {}, "head");
  }
  return builder.model();
}

/** x float32 [rows, 16] → y [rows, 8]: two layers, no residual stream; the second weight in a Constant node. */
export function toyPerceptron(seed = 1): Model {
  const builder = graph().input("x", "float32", ["rows", 16]).output("y", "float32", ["rows", 8]);
  floats(builder, "w1", [16, 32], normals(16 * 32, seed, 0.25));
  const second = memoryTensor("w2", "float32", [32, 8], normals(32 * 8, seed + 1, 0.25));
  return builder
    .node("Constant", [], ["w2"], { value: attribute.tensor(second) })
    .node("MatMul", ["x", "w1"], ["a"], {}, "first")
    .node("Relu", ["a"], ["b"])
    .node("MatMul", ["b", "w2"], ["y"], {}, "second")
    .model();
}

/** The same model with a stored tensor replaced: an initializer, or the output of a Constant node. */
export function withWeight(model: Model, name: string, tensor: FeedTensor): Model {
  const editor = editModel(model);
  const constant = model.graph.producer(name);
  if (constant) editor.removeNode(constant.name);
  else editor.removeInitializer(name);
  const { dtype, shape, data } = tensor;
  editor.addInitializer(memoryTensor(name, dtype, shape, data as Float32Array));
  return editor.commit();
}

/** The same model with inner values as outputs, so that tests can look at them. */
export function exposing(model: Model, values: readonly string[]): Model {
  const editor = editModel(model);
  const known = new Set([...model.graph.outputs, ...model.graph.inputs].map(({ name }) => name));
  for (const name of values) {
    if (!known.has(name)) editor.addOutput({ name, dtype: undefined, shape: undefined });
  }
  return editor.commit();
}

/** A value as numbers, whatever its element type. */
export function numbersOf({ dtype, data }: FeedTensor): number[] {
  const all = Array.from(data as ArrayLike<number | bigint>, Number);
  return dtype === "float16" ? all.map(fromFloat16Bits) : all;
}

/** A data set of exactly these feeds, one batch each. */
export function datasetOf(
  batches: readonly Feeds[],
  extra: readonly Partial<Batch>[] = [],
): Dataset {
  return {
    description: "made by hand",
    kind: "manifest",
    protocol: undefined,
    notices: [],
    samples: batches.length,
    overlap: 0,
    batches: batches.length,
    batch: async (index) => ({ feeds: batches[index], samples: 1, ...extra[index] }),
    fingerprint: "by hand",
    select() {
      throw new Error("not part of these tests");
    },
  };
}

/** float32 or float16 feed of numbers. */
export function floatFeed(
  values: ArrayLike<number>,
  shape: readonly number[],
  dtype: ToyFloat = "float32",
): FeedTensor {
  const data =
    dtype === "float32" ? Float32Array.from(values) : Uint16Array.from(values, toFloat16Bits);
  return { dtype, shape, data };
}

/** int64 feed. */
export function intFeed(values: readonly number[], shape: readonly number[]): FeedTensor {
  return { dtype: "int64", shape, data: BigInt64Array.from(values, BigInt) };
}
