/**
 * The checks of a correction's options and of the data it cannot do without.
 */
import type { CorrectInput, Correction } from "../core/correction.ts";
import { BitloomError } from "../core/errors.ts";

/** What each option may be. */
const ranges = {
  alpha: { text: "a number from 0 to 1", holds: (value: number) => value >= 0 && value <= 1 },
  damping: {
    text: "a finite number of at least 0",
    holds: (value: number) => value >= 0 && Number.isFinite(value),
  },
} as const;

/**
 * Refuses options that the method has not or that are out of range, and missing held-out rows.
 *
 * @throws bad-option - names the option, its range and the value, or the layer without held-out rows.
 */
export function checkOptions(input: CorrectInput, method: Correction, name: string): void {
  for (const option of ["alpha", "damping"] as const) {
    const value = input.options[option];
    if (value === undefined) continue;
    const { text, holds } = ranges[option];
    const known = method.parameters[option] !== undefined;
    if (known && holds(value)) continue;
    const expected = known ? text : `none, because the correction ${name} has no such option`;
    throw new BitloomError(
      "bad-option",
      `Correction ${name} cannot use ${option} ${value}: expected ${expected}.`,
      { option, got: String(value) },
    );
  }
  if (method.needs.includes("holdout") && !input.holdout?.rows) {
    throw new BitloomError(
      "bad-option",
      `Correction ${name} chooses by rows it is not fitted on, but got none for "${input.layer}". Hold out a part of the calibration rows, or use the correction qep.`,
      { option: "correct", got: name },
    );
  }
}
