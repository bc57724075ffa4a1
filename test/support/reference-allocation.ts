/**
 * Slow, obviously right allocation, and layers to allocate: the twins and inputs of the tests of `src/allocate`.
 * Not for production: `cheapestPlan` tries every plan, `cheapestByBytes` keeps every reachable sum of bytes.
 */
import fc from "fast-check";
import { formatGrid, integerFormat, parseFormat } from "../../src/core/format.ts";
import type { LayerAlternatives, LayerScore } from "../../src/core/plan.ts";
import { createRandom } from "../../src/core/random.ts";

/** Lowest Σ loss of all plans within the budget by trying each one; undefined when none fits. */
export function cheapestPlan(
  layers: readonly LayerAlternatives[],
  budgetBytes: number,
): number | undefined {
  if (budgetBytes < 0) return undefined;
  if (layers.length === 0) return 0;
  const [first, ...rest] = layers;
  const losses = first.alternatives.flatMap(({ bytes, loss }) => {
    const others = cheapestPlan(rest, budgetBytes - bytes);
    return others === undefined ? [] : [loss + others];
  });
  return losses.length === 0 ? undefined : Math.min(...losses);
}

/** The same by dynamic programming over exact byte sums: no hulls, no bounds, no dominance. */
export function cheapestByBytes(
  layers: readonly LayerAlternatives[],
  budgetBytes: number,
): number | undefined {
  let reachable = new Map([[0, 0]]);
  for (const { alternatives } of layers) {
    const next = new Map<number, number>();
    for (const [sum, total] of reachable) {
      for (const { bytes, loss } of alternatives) {
        if (sum + bytes > budgetBytes) continue;
        const known = next.get(sum + bytes) ?? Number.POSITIVE_INFINITY;
        next.set(sum + bytes, Math.min(known, total + loss));
      }
    }
    reachable = next;
  }
  return reachable.size === 0 ? undefined : Math.min(...reachable.values());
}

/** A layer from rows of format id, bytes and loss. */
export function layerOf(
  layer: string,
  rows: readonly (readonly [format: string, bytes: number, loss: number])[],
  extra: { readonly block?: string; readonly importance?: number; readonly weights?: number } = {},
): LayerAlternatives {
  const alternatives = rows.map(([id, bytes, loss]) => ({
    layer,
    format: parseFormat(id),
    bytes,
    loss,
  }));
  return { layer, weights: 100, ...extra, alternatives };
}

/** A model's worth of layers with exact sizes of real shapes and plausible losses; same seed, same layers. */
export function syntheticModel(count: number, seed: number): LayerAlternatives[] {
  const random = createRandom(seed);
  const shapes = [2048, 256, 256, 2048, 5632, 5632, 2048].map((n, i) => ({
    n,
    k: i === 6 ? 5632 : 2048,
  }));
  const formats = formatGrid([2, 3, 4, 5, 6, 8], [32, 64, 128]);
  return Array.from({ length: count }, (_, at) => {
    const layer = `layer${String(at).padStart(3, "0")}`;
    const { n, k } = shapes[at % shapes.length];
    const sensitivity = Math.exp(12 * random.next() - 9);
    const alternatives = formats.map((format): LayerScore => {
      const { bits, blockSize, symmetric } = format;
      const blocks = Math.ceil(k / blockSize);
      const zeroPoints = symmetric ? 0 : n * Math.ceil((blocks * bits) / 8);
      const bytes = (n * blocks * blockSize * bits) / 8 + 2 * n * blocks + zeroPoints;
      const noise = 0.9 + 0.2 * random.next();
      const loss =
        sensitivity * 4 ** -bits * (1 + 0.1 * Math.log2(blockSize)) * (symmetric ? 1 : 0.9) * noise;
      return { layer, format, bytes, loss };
    });
    return {
      layer,
      weights: n * k,
      alternatives,
      block: `block${Math.floor(at / 7)}`,
      importance: random.next(),
    };
  });
}

const grid = formatGrid([2, 3, 4, 8], [32, 128]);

/** Losses over eleven orders of magnitude, zeros and ties among them. */
const lossArbitrary = fc.oneof(
  {
    arbitrary: fc.double({ min: -9, max: 2, noNaN: true }).map((exponent) => 10 ** exponent),
    weight: 6,
  },
  { arbitrary: fc.constantFrom(0, 0.5, 1), weight: 2 },
);

/** Small problems without structure: any bytes, any losses, some layers with a single alternative. */
export const layersArbitrary: fc.Arbitrary<LayerAlternatives[]> = fc
  .array(
    fc.record({
      formats: fc.subarray(grid, { minLength: 1, maxLength: 6 }),
      sizes: fc.array(fc.oneof(fc.integer({ min: 0, max: 40 }), fc.integer({ min: 0, max: 2e9 })), {
        minLength: grid.length,
        maxLength: grid.length,
      }),
      losses: fc.array(lossArbitrary, { minLength: grid.length, maxLength: grid.length }),
      block: fc.option(fc.constantFrom("a", "b"), { nil: undefined }),
      importance: fc.option(fc.constantFrom(-0.5, 0.1, 0.7), { nil: undefined }),
    }),
    { minLength: 1, maxLength: 5 },
  )
  .map((specs) =>
    specs.map(({ formats, sizes, losses, block, importance }, at) => {
      const layer = `layer${at}`;
      const alternatives = formats.map((format, i) => ({
        layer,
        format,
        bytes: sizes[i],
        loss: losses[i],
      }));
      return { layer, weights: 64, alternatives, block, importance };
    }),
  );

/** A budget somewhere between the smallest and the largest plan. */
export function budgetBetween(layers: readonly LayerAlternatives[], fraction: number): number {
  const bytes = layers.map(({ alternatives }) =>
    alternatives.map((alternative) => alternative.bytes),
  );
  const min = bytes.reduce((sum, sizes) => sum + Math.min(...sizes), 0);
  const max = bytes.reduce((sum, sizes) => sum + Math.max(...sizes), 0);
  return Math.floor(min + fraction * (max - min));
}

/** Symmetric blocks of 32 at a width. */
export const widthFormat = (bits: number) =>
  integerFormat({ bits, blockSize: 32, symmetric: true });
