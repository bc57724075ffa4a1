/** Layer input modification (LIM): how much a transformer block turns its input. */
import { defineScorer } from "../core/score.ts";
import { requireBlocks, scoreByBlock } from "./block-importance.ts";

/**
 * `LIM = −cos(vec(h_in), vec(h_out))` per block, in [−1, 1]; higher = the block changes its input more.
 *
 * As a loss: importance = 1.01 + LIM, positive and monotone in LIM (1 + LIM is the cosine's distance from 1; 0.01
 * keeps a block that changes nothing from costing nothing).
 *
 * Cost: one float forward pass. Source: Dumitru et al. 2024 (2406.17415), section 3. Ours: one cosine over all
 * calibration tokens; block taps from the residual stream; the loss form.
 */
export const lim = defineScorer({
  summary: "transformer blocks that change their input more get more bits",
  source: "Dumitru et al. 2024 (arXiv 2406.17415), LIM",
  needs: ["blockCosine"],
  forward: false,
  ranksBlocks: true,
  work: { passes: 0, quantizes: false, judges: false },
  unit: "importance · relative squared error",
  async score(input) {
    requireBlocks(input, "lim");
    const scores = new Map<string, number>();
    for (const { name, layers } of input.blocks) {
      const cosine = input.stats.get(layers[0])?.blockCosine;
      if (cosine !== undefined) scores.set(name, -cosine);
    }
    const importance = new Map([...scores].map(([name, value]) => [name, 1.01 + value]));
    return scoreByBlock(input, importance, scores);
  },
});
