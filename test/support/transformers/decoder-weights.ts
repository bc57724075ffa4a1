/**
 * The weights of a decoder under the names its checkpoint would use, as tensors of the graph.
 */
import type { TensorSource } from "../../../src/onnx/index.ts";
import { type DecoderConfig, rotaryBase } from "./config.ts";
import {
  computedTensor,
  matrixPart,
  type RandomPart,
  randomTensor,
  vectorPart,
} from "./weights.ts";

export type ProjectionName = "q" | "k" | "v" | "o" | "gate" | "up" | "down";

export class DecoderWeights {
  readonly #config: DecoderConfig;

  constructor(config: DecoderConfig) {
    this.#config = config;
  }

  /** [K, N] of one projection, or of several side by side. */
  projection(tensorName: string, layer: number, ...names: ProjectionName[]): TensorSource {
    return this.#random(
      tensorName,
      names.map((name) => {
        const { k, n, gain } = this.#projection(name);
        return matrixPart(`model.layers.${layer}.${modules[name]}.weight`, k, n, gain);
      }),
    );
  }

  /** [N] of one projection, or of several side by side. */
  bias(tensorName: string, layer: number, ...names: ProjectionName[]): TensorSource {
    const parts = names.map((name) =>
      vectorPart(`model.layers.${layer}.${modules[name]}.bias`, this.#projection(name).n, 0, 0.2),
    );
    return this.#random(tensorName, parts, true);
  }

  /**
   * @param key - "model.norm", "model.layers.0.input_layernorm" …
   * @param offset - part of the family's norm offset that the stored weight already contains.
   */
  norm(tensorName: string, key: string, length: number, offset: 0 | 1): TensorSource {
    const mean = 1 - this.#config.normOffset + offset;
    return this.#random(tensorName, [vectorPart(`${key}.weight`, length, mean, 0.1)], true);
  }

  /** [vocabulary, hidden]. */
  embedding(tensorName: string): TensorSource {
    const { vocabulary, hidden } = this.#config;
    const part = matrixPart("model.embed_tokens.weight", vocabulary, hidden);
    return this.#random(tensorName, [{ ...part, deviation: 1 / Math.sqrt(hidden) }]);
  }

  /** [hidden, vocabulary] of an untied head. */
  head(tensorName: string): TensorSource {
    const { vocabulary, hidden } = this.#config;
    return this.#random(tensorName, [matrixPart("lm_head.weight", hidden, vocabulary)]);
  }

  /** cos or sin of position · frequency: [positions, headDim / 2], or each column twice in the order of `torch.cat`. */
  rotaryTable(tensorName: string, of: "cos" | "sin", repeated = false): TensorSource {
    const { positions, headDim, dtype } = this.#config;
    const frequencies = rotaryFrequencies(headDim);
    const width = repeated ? headDim : headDim / 2;
    return computedTensor(tensorName, dtype, [positions, width], () =>
      Float32Array.from({ length: positions * width }, (_, i) =>
        Math[of](Math.floor(i / width) * frequencies[(i % width) % frequencies.length]),
      ),
    );
  }

  #random(name: string, parts: readonly RandomPart[], asVector = false): TensorSource {
    return randomTensor(name, this.#config.dtype, this.#config.seed, parts, asVector);
  }

  #projection(name: ProjectionName): { k: number; n: number; gain: number } {
    const { hidden, heads, kvHeads, headDim, intermediate, layers } = this.#config;
    // Projections into the residual stream are damped, as checkpoints initialise them: its variance stays bounded.
    const damped = 1 / Math.sqrt(2 * layers);
    if (name === "q") return { k: hidden, n: heads * headDim, gain: 1 };
    if (name === "k" || name === "v") return { k: hidden, n: kvHeads * headDim, gain: 1 };
    if (name === "o") return { k: heads * headDim, n: hidden, gain: damped };
    if (name === "down") return { k: intermediate, n: hidden, gain: damped };
    return { k: hidden, n: intermediate, gain: 1 };
  }
}

/** Module of each projection inside its layer. */
export const modules: Readonly<Record<ProjectionName, string>> = {
  q: "self_attn.q_proj",
  k: "self_attn.k_proj",
  v: "self_attn.v_proj",
  o: "self_attn.o_proj",
  gate: "mlp.gate_proj",
  up: "mlp.up_proj",
  down: "mlp.down_proj",
};

/** base^(−2i / headDim), float32 [headDim / 2]. */
export function rotaryFrequencies(headDim: number): Float32Array {
  return Float32Array.from({ length: headDim / 2 }, (_, i) => rotaryBase ** ((-2 * i) / headDim));
}
