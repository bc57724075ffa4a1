/**
 * Rewrites of the graph that pay: each pass replaces nodes by fewer or faster ones with the same results.
 */
import type { NodeGraph } from "../session/node-graph.ts";
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

/** One rewrite; changes the graph in place. */
export type Fusion = (graph: NodeGraph) => void | Promise<void>;

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

export async function fuse(graph: NodeGraph): Promise<void> {
  for (const pass of Object.values(fusions)) await pass(graph);
  graph.prune();
}
