/**
 * Disjoint sample sets: what calibrates, what search may look at, what decides at the end, what is reported.
 * Invariant: regions are contiguous and do not share a sample, so no split has seen another split's context.
 */
import { BitloomError } from "../../core/errors.ts";
import { createRandom } from "../../core/random.ts";

/** Most samples for each split; 0 leaves a split empty. */
export interface SplitSizes {
  readonly calibrate: number;
  readonly search: number;
  readonly gate: number;
  /** Held out for the reported quality; left out when the caller has other evaluation data. */
  readonly evaluate?: number | undefined;
}

/** What a split is for. */
export type SplitName = "calibrate" | "search" | "gate" | "evaluate";

/** Sample indices of each split, ascending and consecutive. */
export type Splits = Readonly<Record<SplitName, readonly number[]>>;

const splitNames: readonly SplitName[] = ["calibrate", "search", "gate", "evaluate"];

/**
 * Cuts `total` samples into contiguous regions.
 *
 * Seed 0 places the regions from the start in the order calibrate, search, gate, evaluate: "the first N windows", as
 * published protocols have it. Any other seed shuffles the order and spreads the regions over the data.
 * When there are too few samples every split shrinks in proportion, to no less than one sample.
 *
 * @param total - samples available.
 * @param overlap - samples left unused between regions, for windows that share tokens (`Dataset.overlap`).
 * @param unit - every split is a multiple of this many samples: the batch of a graph that takes whole batches only.
 *   A size is rounded up to it.
 *
 * @throws bad-data - fewer samples (or whole units) than splits. bad-option - a size or unit that is no whole number.
 */
export function splitDataset(
  total: number,
  seed: number,
  sizes: SplitSizes,
  overlap = 0,
  unit = 1,
): Splits {
  if (!Number.isInteger(unit) || unit < 1) {
    throw new BitloomError(
      "bad-option",
      `Cannot split by ${unit} samples: expected a whole number from 1.`,
      { option: "unit", got: String(unit) },
    );
  }
  const wanted = splitNames
    .map((name) => ({ name, size: Math.ceil(wantedSize(name, sizes[name] ?? 0) / unit) }))
    .filter(({ size }) => size > 0);
  const usable = total - overlap * (wanted.length - 1);
  // From here on regions are counted in units.
  const units = Math.floor(usable / unit);
  if (units < wanted.length) {
    const names = wanted.map(({ name }) => name).join(", ");
    const least = unit * wanted.length + overlap * (wanted.length - 1);
    throw new BitloomError(
      "bad-data",
      `Too little data for the splits ${names}, which never share samples: expected at least ${least} samples, got ${total}. Give a longer text or more samples, or a smaller window.`,
      { input: "splits", expected: `${least} samples`, got: `${total} samples` },
    );
  }
  const regions = shrink(wanted, units).map(({ name, size }) => ({ name, size: size * unit }));
  const slack = usable - regions.reduce((sum, { size }) => sum + size, 0);
  const random = createRandom(seed);
  const order = seed === 0 ? regions : shuffle(regions, random.integer);
  const before = order
    .map(() => (seed === 0 ? 0 : random.integer(slack + 1)))
    .sort((a, b) => a - b);

  const splits: Record<SplitName, number[]> = { calibrate: [], search: [], gate: [], evaluate: [] };
  let used = 0;
  order.forEach(({ name, size }, place) => {
    const start = before[place] + used;
    splits[name] = Array.from({ length: size }, (_, i) => start + i);
    used += size + overlap;
  });
  return splits;
}

function wantedSize(name: SplitName, size: number): number {
  if (Number.isInteger(size) && size >= 0) return size;
  throw new BitloomError(
    "bad-option",
    `Split "${name}": expected a whole number of samples, got ${size}.`,
    { option: name, got: String(size) },
  );
}

interface Region {
  readonly name: SplitName;
  readonly size: number;
}

/** Sizes in proportion to the wish, at least 1, together at most `usable`; leftovers go to the first splits. */
function shrink(wanted: readonly Region[], usable: number): Region[] {
  const sum = wanted.reduce((total, { size }) => total + size, 0);
  if (sum <= usable) return [...wanted];
  // One sample each is set aside first, so that rounding can never take a split's only sample.
  const spare = usable - wanted.length;
  const shares = wanted.map(({ size }) =>
    Math.floor((spare * (size - 1)) / Math.max(1, sum - wanted.length)),
  );
  let left = spare - shares.reduce((total, share) => total + share, 0);
  return wanted.map(({ name, size }, i) => {
    const extra = Math.min(left, size - 1 - shares[i], 1);
    left -= extra;
    return { name, size: 1 + shares[i] + extra };
  });
}

function shuffle<T>(items: readonly T[], integer: (bound: number) => number): T[] {
  const shuffled = [...items];
  for (let i = shuffled.length - 1; i > 0; i--) {
    const j = integer(i + 1);
    [shuffled[i], shuffled[j]] = [shuffled[j], shuffled[i]];
  }
  return shuffled;
}
