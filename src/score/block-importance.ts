/**
 * LIM and ZD rank whole transformer blocks; this turns a rank into losses that any allocator can use.
 */
import { BitloomError } from "../core/errors.ts";
import type { Layer, LayerId } from "../core/layer.ts";
import type { LayerLosses, ScoreInput } from "../core/score.ts";
import type { StatName } from "../core/stats.ts";
import { scoreEach, squaredDistance, squaredNorm } from "./losses.ts";

/** Throws when the graph has no transformer blocks, on which the method is defined. */
export function requireBlocks({ blocks }: Pick<ScoreInput, "blocks">, scorer: string): void {
  if (blocks.length > 0) return;
  throw new BitloomError(
    "unsupported",
    `Scorer ${scorer} ranks transformer blocks and this graph has none: no residual Add has a layer on its branch. Use --scorer output-error or measured-kl.`,
    { what: scorer },
  );
}

/**
 * `loss(l, b) = importance(l) · ‖ΔW_b‖² / ‖W‖²`. Layers outside all blocks (embedding, head) take the largest
 * importance: the paper leaves them in float, which only a pin can do inside a budget.
 *
 * @param importanceOfBlock - positive, higher = more bits, by block name.
 * @param raw - the method's own number by block name, for `ranked` and the report.
 */
export function scoreByBlock<S extends StatName>(
  input: ScoreInput<S>,
  importanceOfBlock: ReadonlyMap<string, number>,
  raw: ReadonlyMap<string, number>,
): Promise<Map<LayerId, LayerLosses>> {
  const blockOf = new Map(
    input.blocks.flatMap(({ name, layers }) => layers.map((id) => [id, name])),
  );
  const lookUp = (values: ReadonlyMap<string, number>, layer: Layer) => {
    const block = blockOf.get(layer.id);
    const own = block === undefined ? undefined : values.get(block);
    // Pins may leave no block to compare with: then all layers weigh the same.
    return own ?? (values.size === 0 ? 1 : Math.max(...values.values()));
  };
  return scoreEach(
    input,
    "rounded",
    ({ layer, weight, quantized }) => {
      const norm = squaredNorm(weight);
      if (norm === 0) return 0;
      return (lookUp(importanceOfBlock, layer) * squaredDistance(weight, quantized)) / norm;
    },
    (layer) => lookUp(raw, layer),
  );
}
