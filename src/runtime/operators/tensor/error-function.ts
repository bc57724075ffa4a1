/** The error function in float64, for constants and for types that no kernel takes. */

/**
 * erf x = 2/√π · ∫₀ˣ e^(−t²) dt.
 *
 * Numerics: |error| ≤ 1e-15 below 2.5 by the series 2/√π · e^(−x²) · Σ 2ⁿ·x^(2n+1) / (1·3·…·(2n+1)), whose terms are
 *   all positive; above by the continued fraction of erfc.
 * Source: Abramowitz and Stegun, 7.1.6 and 7.1.14.
 */
export function errorFunction(x: number): number {
  const size = Math.abs(x);
  if (Number.isNaN(x)) return x;
  if (size > 6) return Math.sign(x);
  if (size < 2.5) {
    let term = x;
    let sum = x;
    for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum); n++) {
      term *= (2 * x * x) / (2 * n + 1);
      sum += term;
    }
    return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
  }
  let fraction = 0;
  for (let n = 60; n >= 1; n--) fraction = n / 2 / (size + fraction);
  const rest = Math.exp(-x * x) / (Math.sqrt(Math.PI) * (size + fraction));
  return Math.sign(x) * (1 - rest);
}
