/**
 * The budgets of the comparison. Pure.
 */

export interface Budget {
  /** Bits per weight as asked for: the width of a uniform plan, or a value between two widths. */
  readonly bits: number;
  readonly bytes: number;
}

/**
 * Bytes for each number of bits: those of the best uniform plan where it is a width, else between the two nearest.
 *
 * @param uniform - bytes of the best uniform plan by width.
 * @param bits - those below the smallest or above the largest width are left out.
 */
export function budgetsFor(
  uniform: ReadonlyMap<number, number>,
  bits: readonly number[],
): readonly Budget[] {
  const widths = [...uniform.keys()].sort((a, b) => a - b);
  return bits.flatMap((wanted) => {
    const low = widths.filter((width) => width <= wanted).at(-1);
    const high = widths.find((width) => width >= wanted);
    if (low === undefined || high === undefined) return [];
    const [from, to] = [uniform.get(low) ?? 0, uniform.get(high) ?? 0];
    const share = high === low ? 0 : (wanted - low) / (high - low);
    return [{ bits: wanted, bytes: Math.floor(from + share * (to - from)) }];
  });
}
