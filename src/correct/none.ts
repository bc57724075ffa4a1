/**
 * No correction: every layer is rounded as if the layers before it were still float.
 */
import type { Correction } from "../core/correction.ts";

export const none: Correction = {
  summary: "leave the weights as they are",
  source: "the baseline of the other corrections",
  needs: [],
  parameters: {},
  correct: async ({ weight }) => ({ target: weight, alpha: 0, damping: 0 }),
};
