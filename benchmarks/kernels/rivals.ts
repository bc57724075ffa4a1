/**
 * The same products in ONNX Runtime, one thread: `onnxruntime-web` (WebAssembly) and `onnxruntime-node` (native).
 */
import type { LowBits } from "../../native/index.ts";
import { productModel } from "./onnx-file.ts";
import { blockSize, floatWeights, type Weights } from "./weights.ts";

/** What is used of onnxruntime-common, which both rivals implement. */
export interface Ort {
  readonly env: { readonly wasm: { numThreads?: number } };
  readonly Tensor: new (
    type: "float32",
    data: Float32Array,
    dims: readonly number[],
  ) => { readonly data: unknown };
  readonly InferenceSession: {
    create(model: Uint8Array, options: Readonly<Record<string, number>>): Promise<Session>;
  };
}
interface Session {
  run(
    feeds: Readonly<Record<string, InstanceType<Ort["Tensor"]>>>,
  ): Promise<Readonly<Record<string, InstanceType<Ort["Tensor"]>>>>;
  release(): Promise<void>;
}

export type Rival = "onnxruntime-web" | "onnxruntime-node";
/** The widths that MatMulNBits has. */
export const rivalBits: readonly LowBits[] = [2, 4, 8];

export interface RivalProduct {
  run(input: Float32Array, m: number): Promise<Float32Array>;
  release(): Promise<void>;
}

export async function openRival(rival: Rival): Promise<Ort> {
  const ort = (await import(rival)) as Ort & { readonly default?: Ort };
  const api = ort.InferenceSession ? ort : (ort.default as Ort);
  if (rival === "onnxruntime-web") api.env.wasm.numThreads = 1;
  return api;
}

/** accuracy_level 4 lets the native kernels quantize the activations to int8, their fastest form. */
export function matMulNBits(weights: Weights): Uint8Array {
  const { n, k, bits, scales } = weights;
  const blocks = k / blockSize;
  return productModel({
    operator: "MatMulNBits",
    attributes: { K: k, N: n, bits, block_size: blockSize, accuracy_level: 4 },
    initializers: [
      { name: "B", dims: [n, blocks, (blockSize * bits) / 8], data: bitStream(weights) },
      { name: "scales", dims: [n * blocks], data: scales },
    ],
    k,
    n,
  });
}

export function matMulFloat(weights: Weights): Uint8Array {
  const { n, k } = weights;
  const values = floatWeights(weights);
  const data = new Float32Array(k * n);
  for (let row = 0; row < n; row++) {
    for (let at = 0; at < k; at++) data[at * n + row] = values[row * k + at];
  }
  const initializers = [{ name: "B", dims: [k, n], data }];
  return productModel({ operator: "MatMul", attributes: {}, initializers, k, n });
}

export async function rivalProduct(ort: Ort, model: Uint8Array, k: number): Promise<RivalProduct> {
  const session = await ort.InferenceSession.create(model, {
    intraOpNumThreads: 1,
    interOpNumThreads: 1,
    logSeverityLevel: 3,
  });
  return {
    async run(input, m) {
      const { C } = await session.run({ A: new ort.Tensor("float32", input, [m, k]) });
      return C.data as Float32Array;
    },
    release: () => session.release(),
  };
}

function bitStream({ codes, bits }: Weights): Uint8Array {
  const perByte = 8 / bits;
  return Uint8Array.from({ length: codes.length / perByte }, (_, at) => {
    let byte = 0;
    for (let i = 0; i < perByte; i++) byte |= codes[at * perByte + i] << (i * bits);
    return byte;
  });
}
