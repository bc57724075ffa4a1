/** How often each table row is gathered: the indices themselves are small, so they leave the session and are counted. */
import type { Statistic } from "../statistic.ts";

export const rowFrequency: Statistic<"rowFrequency"> = {
  summary: "share of each table row among all gathered rows",
  probes: (layer) =>
    layer.uses
      .filter((use) => use.opType === "Gather")
      .map((use) => ({
        key: `${layer.id} ${use.activation}`,
        emit: (tap) => tap.op("Reshape", [use.activation, tap.int64([-1])]),
        merge(total, result) {
          const counts = total ?? new Float64Array(layer.n);
          // ONNX counts negative indices from the end.
          for (let i = 0; i < result.length; i++) {
            const row = Number(result[i]);
            counts[row < 0 ? row + layer.n : row] += 1;
          }
          return counts;
        },
      })),
  finish(totals) {
    const counts = Float64Array.from(totals[0], (_, row) =>
      totals.reduce((sum, total) => sum + total[row], 0),
    );
    const all = counts.reduce((sum, count) => sum + count, 0);
    return all === 0 ? counts : counts.map((count) => count / all);
  },
};
