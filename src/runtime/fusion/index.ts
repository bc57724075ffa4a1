/**
 * Rewrites of the graph that pay: each pass replaces nodes by fewer or faster ones with the same results.
 */
import type { ActivationType, LowBits } from "../../../native/index.ts";
import type { NodeGraph } from "../session/node-graph.ts";
import type { OperatorNode } from "../session/operator.ts";
import { attention } from "./attention.ts";
import { attentionProjection } from "./attention-projection.ts";
import { dequantizeWeight } from "./dequantize-weight.ts";
import { gated } from "./gated.ts";
import { gelu } from "./gelu.ts";
import { layerNorm } from "./layer-norm.ts";
import { skipNorm } from "./layer-norm-skip.ts";
import { lowBitNodes } from "./low-bit-nodes.ts";
import { productBias } from "./product-bias.ts";
import { rmsNorm } from "./rms-norm.ts";
import { rotary } from "./rotary.ts";
import { sharedActivation } from "./shared-activation.ts";
import { sixBitPair } from "./six-bit-pair.ts";

/** What fusions may know of the session that will run the graph. */
export interface FusionOptions {
  /** The type of the activations that codes of this width are multiplied with. */
  readonly activationType: (bits: LowBits) => ActivationType;
}

/** One rewrite; changes the graph in place. */
export type Fusion = (graph: NodeGraph, options: FusionOptions) => void | Promise<void>;

/** In the order they run. */
export const fusions: Readonly<Record<string, Fusion>> = {
  attentionProjection,
  lowBitNodes,
  sixBitPair,
  dequantizeWeight,
  // Before rmsNorm, which would take a layer norm's second half.
  layerNorm,
  rmsNorm,
  gelu,
  gated,
  rotary,
  attention,
  // After everything that makes norms.
  skipNorm,
  // After everything that looks for Add.
  productBias,
  // After everything that makes low-bit products.
  sharedActivation,
};

/**
 * Runs the fusions on a graph.
 *
 * @param without - names of fusions to leave out.
 * @returns which fusion made each node that the file does not have.
 */
export async function fuse(
  graph: NodeGraph,
  options: FusionOptions,
  without: ReadonlySet<string> = new Set(),
): Promise<ReadonlyMap<OperatorNode, string>> {
  const makers = new Map<OperatorNode, string>();
  for (const [name, pass] of Object.entries(fusions)) {
    if (without.has(name)) continue;
    const before = new Set(graph.nodes);
    await pass(graph, options);
    for (const node of graph.nodes) if (!before.has(node)) makers.set(node, name);
  }
  graph.prune();
  return makers;
}
