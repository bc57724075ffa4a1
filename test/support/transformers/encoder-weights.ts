/**
 * The weights of a BERT encoder under the names its checkpoint would use, as tensors of the graph.
 */
import type { TensorSource } from "../../../src/onnx/index.ts";
import type { EncoderConfig } from "./config.ts";
import type { GraphWriter } from "./graph-writer.ts";
import { matrixPart, type RandomPart, randomTensor, vectorPart } from "./weights.ts";

/** Modules of a layer with weight and bias. */
export const encoderModules = {
  query: "attention.self.query",
  key: "attention.self.key",
  value: "attention.self.value",
  output: "attention.output.dense",
  up: "intermediate.dense",
  down: "output.dense",
} as const;

export type EncoderModule = keyof typeof encoderModules;
export type EmbeddingTable = "word" | "position" | "token_type";

/** Writes weights into a graph and returns the initializer's name. */
export class EncoderWeights {
  readonly #root: GraphWriter;
  readonly #config: EncoderConfig;

  constructor(root: GraphWriter, config: EncoderConfig) {
    this.#root = root;
    this.#config = config;
  }

  /** [K, N] of one module, or of several side by side. */
  weight(layer: number, ...names: EncoderModule[]): string {
    const parts = names.map((name) => {
      const [k, n] = this.#sizes(name);
      const damped = name === "output" || name === "down";
      return matrixPart(`${moduleKey(layer, name)}.weight`, k, n, damped ? 0.5 : 1);
    });
    return this.#add(`${stem(layer, names)}.weight`, parts);
  }

  /** [N] of one module, or of several side by side. */
  bias(layer: number, ...names: EncoderModule[]): string {
    const parts = names.map((name) =>
      vectorPart(`${moduleKey(layer, name)}.bias`, this.#sizes(name)[1], 0, 0.2),
    );
    return this.#add(`${stem(layer, names)}.bias`, parts, true);
  }

  /** [hidden] each; `key` is "embeddings.LayerNorm", "encoder.layer.0.output.LayerNorm" … */
  norm(key: string): { readonly scale: string; readonly shift: string } {
    const { hidden } = this.#config;
    return {
      scale: this.#add(`${key}.weight`, [vectorPart(`${key}.weight`, hidden, 1, 0.1)], true),
      shift: this.#add(`${key}.bias`, [vectorPart(`${key}.bias`, hidden, 0, 0.1)], true),
    };
  }

  /** [rows, hidden]. */
  table(of: EmbeddingTable): string {
    const { hidden, vocabulary, positions } = this.#config;
    const rows = { word: vocabulary, position: positions, token_type: 2 }[of];
    const key = `embeddings.${of}_embeddings.weight`;
    return this.#add(key, [{ key, rows, columns: hidden, mean: 0, deviation: 1 }]);
  }

  /** [N, K] and [N] of pooler or classifier, as Gemm with transB reads them. */
  dense(key: string, n: number): { readonly weight: string; readonly bias: string } {
    const { hidden } = this.#config;
    const part = { ...matrixPart(`${key}.weight`, n, hidden), deviation: 1 / Math.sqrt(hidden) };
    return {
      weight: this.#add(`${key}.weight`, [part]),
      bias: this.#add(`${key}.bias`, [vectorPart(`${key}.bias`, n, 0, 0.2)], true),
    };
  }

  #add(name: string, parts: readonly RandomPart[], asVector = false): string {
    const { dtype, seed } = this.#config;
    const tensor: TensorSource = randomTensor(name, dtype, seed, parts, asVector);
    return this.#root.tensor(tensor);
  }

  #sizes(name: EncoderModule): readonly [number, number] {
    const { hidden, intermediate } = this.#config;
    if (name === "up") return [hidden, intermediate];
    if (name === "down") return [intermediate, hidden];
    return [hidden, hidden];
  }
}

const moduleKey = (layer: number, name: EncoderModule) =>
  `encoder.layer.${layer}.${encoderModules[name]}`;

function stem(layer: number, names: readonly EncoderModule[]): string {
  if (names.length === 1) return moduleKey(layer, names[0]);
  return `encoder.layer.${layer}.attention.self.${names.join("_")}`;
}
