/** Z-score distribution (ZD): how many weights of a transformer block are much larger than its average. */
import { defineScorer } from "../core/score.ts";
import type { Matrix } from "../core/tensor.ts";
import { requireBlocks, scoreByBlock } from "./block-importance.ts";

/**
 * Share of a matrix's weights with `(w − mean) / std > 1`; 0 when std = 0.
 *
 * One-sided, as the paper's abstract says ("much larger than average"); a reimplementation counts |z| > 1.
 */
export function outlierShare({ data }: Matrix): number {
  let sum = 0;
  for (const value of data) sum += value;
  const mean = sum / data.length;
  let squares = 0;
  for (const value of data) squares += (value - mean) ** 2;
  const deviation = Math.sqrt(squares / data.length);
  if (deviation === 0) return 0;
  let count = 0;
  for (const value of data) if (value - mean > deviation) count++;
  return count / data.length;
}

/**
 * ZD of a block is the mean of the shares of its matrices under choice; fewer = more important, so the rank is by −ZD.
 *
 * As a loss: importance = 1 − ZD.
 *
 * Cost: two passes over the weights, no data. Source: Dumitru et al. 2024 (2406.17415), section 3.
 */
export const zd = defineScorer({
  summary: "transformer blocks with fewer outlier weights get more bits; needs no data",
  source: "Dumitru et al. 2024 (arXiv 2406.17415), ZD",
  needs: [],
  forward: false,
  ranksBlocks: true,
  work: { passes: 0, quantizes: false, judges: false },
  unit: "importance · relative squared error",
  async score(input) {
    requireBlocks(input, "zd");
    const shares = new Map<string, number>();
    for (const { name, layers } of input.blocks) {
      const members = input.candidates.filter(({ layer }) => layers.includes(layer.id));
      if (members.length === 0) continue;
      let sum = 0;
      for (const { layer } of members) sum += outlierShare(await layer.readWeight());
      shares.set(name, sum / members.length);
    }
    const importance = new Map([...shares].map(([name, share]) => [name, 1 - share]));
    return scoreByBlock(
      input,
      importance,
      new Map([...shares].map(([name, share]) => [name, -share])),
    );
  },
});
