/**
 * How many scales the grid search tries for each width, and how far they narrow.
 * Not here: the search itself (`native/dense/grid.ts`).
 */

export interface TrialScales {
  /** How many scales are tried for each zero point and sign. */
  readonly trials: number;
  /** Each scale ÷ the one before. */
  readonly ratio: number;
}

/**
 * By bits. The first scale covers the whole block, the last one 0.15, 0.2, 0.4, 0.6, 0.75 or 0.9 of that at 2, 3, 4, 5,
 * 6 and 8 bits; the ratios are that, to the power 1 / (trials − 1), written out because engines may differ in the last
 * bit of a power.
 * On Gaussian and Laplace blocks of 32 to 512 the squared error stays within 1 % of a dense search (300 steps, nine
 * zero points) up to 5 bits and within 9 % at 6 and 8 bits, where zero points further away would still gain a little.
 */
export const trialScales: Readonly<Record<number, TrialScales>> = {
  2: { trials: 20, ratio: 0.9049745834545918 },
  3: { trials: 20, ratio: 0.9187812103811747 },
  4: { trials: 18, ratio: 0.9475273710262683 },
  5: { trials: 16, ratio: 0.9665183044745802 },
  6: { trials: 14, ratio: 0.9781136685511104 },
  8: { trials: 12, ratio: 0.9904674964312845 },
};
