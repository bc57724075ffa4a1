/**
 * Finds the names a user most likely meant, for error messages about unknown layers and formats.
 * Not for matching: nothing is decided from its result.
 */
import { compareText } from "./alternatives.ts";

/**
 * The candidates with the smallest edit distance to `name`, ties in text order.
 *
 * Cost: O(candidates · L²) for names of length L; only run on the way to an error.
 */
export function closestNames(name: string, candidates: readonly string[], count = 3): string[] {
  return candidates
    .map((candidate) => ({ candidate, distance: editDistance(name, candidate) }))
    .sort((a, b) => a.distance - b.distance || compareText(a.candidate, b.candidate))
    .slice(0, count)
    .map(({ candidate }) => candidate);
}

/** Levenshtein distance: insertions, deletions and replacements that turn `a` into `b`. */
function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const current = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = previous[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1);
      current.push(Math.min(replaced, previous[j] + 1, current[j - 1] + 1));
    }
    previous = current;
  }
  return previous[b.length];
}

/** `"a", "b"`: names as messages show them. */
export function quoteNames(names: readonly string[]): string {
  return names.map((name) => `"${name}"`).join(", ");
}
