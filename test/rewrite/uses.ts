/**
 * Small models in which one weight matrix is used in every way a layer can be used, with the float64 results that
 * they must give. Not here: formats and targets, which the tests iterate.
 */
import type { Feeds, FeedTensor } from "../../src/core/feeds.ts";
import { createRandom, type Random } from "../../src/core/random.ts";
import { elementCount, type Matrix, toFloat16Bits } from "../../src/core/tensor.ts";
import { attribute } from "../../src/onnx/index.ts";
import type { GraphBuilder } from "../support/graph-builder.ts";
import { referenceFloat16, referenceProduct, transpose } from "../support/reference.ts";

export interface Shape {
  readonly n: number;
  readonly k: number;
}

/** One way to use a weight W [N, K]: adds nodes named after `name`, and says what each output must be. */
export interface Use {
  readonly name: string;
  /** The oldest opset that has it; default any. */
  readonly opset?: number;
  add(builder: GraphBuilder, name: string, weight: Matrix, options: UseOptions): readonly Output[];
}

/** Element type of activations and weights. */
export type FeedType = "float32" | "float16";

export interface UseOptions {
  readonly dtype: FeedType;
  readonly random: Random;
}

export interface Output {
  readonly value: string;
  /** What W = `weight` must give for these feeds. */
  expected(weight: Matrix, feeds: Feeds): Float64Array;
}

const rows = 5;

/** Feeds of every use: activations of rank 1, 2, 3 and transposed, indices of rank 0, 1 and 2 as int32 and int64. */
export function useFeeds({ n, k }: Shape, dtype: FeedType, seed: number): Feeds {
  const random = createRandom(seed);
  const float = (shape: readonly number[]): FeedTensor => {
    const values = Float32Array.from({ length: elementCount(shape) }, () => random.normal());
    const data = dtype === "float32" ? values : Uint16Array.from(values, toFloat16Bits);
    return { dtype, shape, data };
  };
  // The first, the last, one twice, and negative indices: −1 is the last row.
  const indices = [0, n - 1, n >> 1, n >> 1, -1, -n];
  return {
    x1: float([k]),
    x2: float([rows, k]),
    x3: float([2, 3, k]),
    xt: float([k, rows]),
    i0: { dtype: "int64", shape: [], data: BigInt64Array.of(-1n) },
    i1: { dtype: "int32", shape: [6], data: Int32Array.from(indices) },
    i2: { dtype: "int64", shape: [3, 2], data: BigInt64Array.from(indices, BigInt) },
  };
}

/** Declares the graph inputs that `useFeeds` feeds; batch dimensions stay open. */
export function declareInputs(builder: GraphBuilder, { k }: Shape, dtype: FeedType): GraphBuilder {
  return builder
    .input("x1", dtype, [k])
    .input("x2", dtype, ["rows", k])
    .input("x3", dtype, ["batch", "sequence", k])
    .input("xt", dtype, [k, "columns"])
    .input("i0", "int64", [])
    .input("i1", "int32", ["ids"])
    .input("i2", "int64", ["a", "b"]);
}

/** The numbers of a feed or result; float16 travels as bit patterns. */
export const numbersOf = (tensor: FeedTensor): Float64Array =>
  tensor.dtype === "float16"
    ? Float64Array.from(tensor.data as Uint16Array, referenceFloat16)
    : Float64Array.from(tensor.data as Float32Array);

/** X Wᵀ; X [M, K] row-major. */
function product(x: Float64Array, { rows: n, cols: k, data }: Matrix): Float64Array {
  return referenceProduct(x, transpose(data, n, k), x.length / k, k, n);
}

function gathered(indices: FeedTensor, { rows: n, cols: k, data }: Matrix): Float64Array {
  const picked = Array.from(indices.data as ArrayLike<number | bigint>, Number);
  return Float64Array.from(
    picked.flatMap((index) => {
      const row = index < 0 ? index + n : index;
      return [...data.subarray(row * k, (row + 1) * k)];
    }),
  );
}

const productOf = (value: string, feed: string): Output => ({
  value,
  expected: (weight, feeds) => product(numbersOf(feeds[feed]), weight),
});

const gatherOf = (value: string, feed: string): Output => ({
  value,
  expected: (weight, feeds) => gathered(feeds[feed], weight),
});

const transposedMatrix = ({ rows: n, cols: k, data }: Matrix): Matrix => ({
  rows: k,
  cols: n,
  data: Float32Array.from(transpose(data, n, k)),
});

function store(builder: GraphBuilder, name: string, matrix: Matrix, dtype: FeedType) {
  const data = dtype === "float32" ? matrix.data : Uint16Array.from(matrix.data, toFloat16Bits);
  builder.initializer(name, [matrix.rows, matrix.cols], data, dtype);
}

/** Gemm through a given orientation, with bias, α and β. */
function gemm(options: {
  readonly name: string;
  readonly transA: boolean;
  readonly transB: boolean;
  readonly alpha: number;
  readonly beta: number;
  readonly bias: "row" | "full" | "none";
}): Use {
  const { alpha, beta, transA, transB } = options;
  return {
    name: options.name,
    opset: options.bias === "none" ? 11 : 7, // the bias is optional from 11 on
    add(builder, name, weight, { dtype, random }) {
      const n = weight.rows;
      store(builder, `${name}/w`, transB ? weight : transposedMatrix(weight), dtype);
      const shape = options.bias === "row" ? [n] : [rows, n];
      const length = elementCount(shape);
      const bias = Float32Array.from({ length }, () => Math.round(8 * random.normal()) / 8);
      if (options.bias !== "none") {
        const data = dtype === "float32" ? bias : Uint16Array.from(bias, toFloat16Bits);
        builder.initializer(`${name}/bias`, shape, data, dtype);
      }
      builder.node(
        "Gemm",
        [transA ? "xt" : "x2", `${name}/w`, ...(options.bias === "none" ? [] : [`${name}/bias`])],
        [`${name}/y`],
        {
          alpha: attribute.float(alpha),
          beta: attribute.float(beta),
          transA: attribute.int(Number(transA)),
          transB: attribute.int(Number(transB)),
        },
        name,
      );
      return [
        {
          value: `${name}/y`,
          expected(w, feeds) {
            const x = numbersOf(feeds[transA ? "xt" : "x2"]);
            const plain = transA ? transpose(x, w.cols, rows) : x;
            return product(plain, w).map((v, i) => {
              const c = options.bias === "none" ? 0 : bias[i % length];
              return Math.fround(alpha) * v + Math.fround(beta) * c;
            });
          },
        },
      ];
    },
  };
}

export const uses: readonly Use[] = [
  {
    name: "matmul",
    add(builder, name, weight, { dtype }) {
      store(builder, `${name}/w`, transposedMatrix(weight), dtype);
      return ["x2", "x3", "x1"].map((x, i) => {
        builder.node(
          "MatMul",
          [x, `${name}/w`],
          [`${name}/${x}`],
          {},
          i === 0 ? name : `${name}/${i}`,
        );
        return productOf(`${name}/${x}`, x);
      });
    },
  },
  {
    name: "matmul-behind-transpose",
    add(builder, name, weight, { dtype }) {
      store(builder, `${name}/w`, weight, dtype);
      const perm = { perm: attribute.ints([1, 0]) };
      builder.node("Transpose", [`${name}/w`], [`${name}/t`], perm, `${name}/Transpose`);
      builder.node("MatMul", ["x3", `${name}/t`], [`${name}/y`], {}, name);
      return [productOf(`${name}/y`, "x3")];
    },
  },
  gemm({ name: "gemm", transA: false, transB: false, alpha: 0.75, beta: -1.5, bias: "row" }),
  gemm({ name: "gemm-transposed", transA: true, transB: true, alpha: 1, beta: 1, bias: "full" }),
  gemm({ name: "gemm-bare", transA: false, transB: true, alpha: -2, beta: 0.5, bias: "none" }),
  {
    name: "gather",
    add(builder, name, weight, { dtype }) {
      store(builder, `${name}/w`, weight, dtype);
      return ["i2", "i1", "i0"].map((ids, i) => {
        const node = i === 0 ? name : `${name}/${i}`;
        builder.node("Gather", [`${name}/w`, ids], [`${name}/${ids}`], {}, node);
        return gatherOf(`${name}/${ids}`, ids);
      });
    },
  },
  {
    name: "conv",
    add(builder, name, weight, { dtype }) {
      // A kernel as long as its input has one position: the product, over channels of 4 elements where K allows it.
      const { rows: n, cols: k } = weight;
      const length = k % 4 === 0 ? 4 : 1;
      const channels = k / length;
      const data = dtype === "float32" ? weight.data : Uint16Array.from(weight.data, toFloat16Bits);
      builder.initializer(`${name}/w`, [n, channels, length], data, dtype);
      builder.initializer(
        `${name}/shape`,
        [3],
        BigInt64Array.from([rows, channels, length], BigInt),
      );
      builder.node("Reshape", ["x2", `${name}/shape`], [`${name}/x`], {}, `${name}/Reshape`);
      builder.node("Conv", [`${name}/x`, `${name}/w`], [`${name}/y`], {}, name);
      return [productOf(`${name}/y`, "x2")];
    },
  },
  {
    name: "tied",
    add(builder, name, weight, { dtype }) {
      store(builder, `${name}/w`, weight, dtype);
      builder.node("Gather", [`${name}/w`, "i2"], [`${name}/rows`], {}, name);
      builder.node("Transpose", [`${name}/w`], [`${name}/t`], {}, `${name}/Transpose`);
      builder.node("MatMul", ["x2", `${name}/t`], [`${name}/y`], {}, `${name}/head`);
      return [gatherOf(`${name}/rows`, "i2"), productOf(`${name}/y`, "x2")];
    },
  },
];

/** max |y − expected| / max |expected|. NaN anywhere gives infinity. */
export function relativeError(y: ArrayLike<number>, expected: Float64Array): number {
  if (y.length !== expected.length) return Number.POSITIVE_INFINITY;
  let error = 0;
  let size = 0;
  for (let i = 0; i < expected.length; i++) {
    const difference = Math.abs(y[i] - expected[i]);
    if (!(difference <= error))
      error = Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference;
    size = Math.max(size, Math.abs(expected[i]));
  }
  return error / size;
}
