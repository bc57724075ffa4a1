/**
 * Labels beside the ends of lines: moved apart as little as possible. Pure.
 */

/**
 * Places that keep a distance, in the order of the wanted ones, with the least sum of squared moves.
 *
 *   min Σ (pᵢ − wᵢ)²  subject to  pᵢ₊₁ − pᵢ ≥ gap
 *
 * @param wanted - in any order. @returns one place per label, in the same order.
 *
 * Source: pool adjacent violators, on wᵢ − i · gap.
 */
export function dodge(wanted: readonly number[], gap: number): number[] {
  const order = wanted.map((_, at) => at).sort((a, b) => wanted[a] - wanted[b]);
  const pools: { sum: number; count: number }[] = [];
  order.forEach((at, rank) => {
    pools.push({ sum: wanted[at] - rank * gap, count: 1 });
    for (
      let last = pools.length - 1;
      last > 0 && mean(pools[last]) < mean(pools[last - 1]);
      last--
    ) {
      const [{ sum, count }] = pools.splice(last, 1);
      pools[last - 1].sum += sum;
      pools[last - 1].count += count;
    }
  });
  const places = new Array<number>(wanted.length);
  let rank = 0;
  for (const pool of pools) {
    for (let i = 0; i < pool.count; i++, rank++) places[order[rank]] = mean(pool) + rank * gap;
  }
  return places;
}

const mean = ({ sum, count }: { readonly sum: number; readonly count: number }) => sum / count;
