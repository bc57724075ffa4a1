/** Numbers as the page writes them. The JSON report carries them unrounded. */

/** "1,187,220", alike in every locale. */
export const grouped = (count: number): string => count.toLocaleString("en-US");

/** "639.3 kB". */
export function byteSize(bytes: number): string {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  let value = bytes;
  let unit = 0;
  while (value >= 999.95 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return unit === 0 ? `${grouped(bytes)} bytes` : `${value.toFixed(1)} ${units[unit]}`;
}

const noBreak = "\u00a0";

const superscripts = "⁰¹²³⁴⁵⁶⁷⁸⁹";

/** Three significant digits: "0.0123", "1.2 × 10⁻⁵", "0"; lines do not break in it. */
export function significant(value: number, digits = 3): string {
  if (value === 0) return "0";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  const size = Math.abs(value);
  if (size >= 1e-3 && size < 1e6) return minus(groupedDigits(value.toPrecision(digits)));
  return scientific(value, Math.max(0, digits - 2));
}

/** "1.2 × 10⁻⁵". */
export function scientific(value: number, decimals: number): string {
  const [mantissa, exponent] = value.toExponential(decimals).split("e");
  const power = [...String(Math.abs(Number(exponent)))].map((digit) => superscripts[Number(digit)]);
  return minus(
    `${mantissa}${noBreak}×${noBreak}10${Number(exponent) < 0 ? "⁻" : ""}${power.join("")}`,
  );
}

/** toPrecision writes 123456 as 1.23e+5. */
const groupedDigits = (text: string): string =>
  text.includes("e")
    ? grouped(Number(text))
    : text.replace(/^(-?\d{4,})$/, (all) => grouped(Number(all)));

export const fixed = (value: number, digits: number): string => minus(value.toFixed(digits));

/** "3.4%". */
export const percent = (share: number, digits = 1): string => `${fixed(100 * share, digits)}%`;

/** "+3.4%" or "−1.2%". */
export const change = (share: number, digits = 1): string =>
  `${share >= 0 ? "+" : ""}${percent(share, digits)}`;

/** null stands for an exact result, −999 for an output that is zero in the float model only. */
export const decibel = (db: number | null): string =>
  db === null ? "exact" : db <= -999 ? "−∞ dB" : `${fixed(db, 1)} dB`;

/** "12 ms", "3.8 s", "2 min 5 s", "1 h 3 min". */
export function duration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const seconds = Math.round(ms / 100) / 10;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60
    ? `${minutes} min ${Math.floor(seconds % 60)} s`
    : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** "1 layer", "12 layers". */
export const counted = (count: number, noun: string): string =>
  `${grouped(count)} ${noun}${count === 1 ? "" : "s"}`;

export const interval = (
  { low, high }: { readonly low: number; readonly high: number },
  show: (value: number) => string,
): string => `${show(low)} to ${show(high)}`;

/** A ratio that stays short: "0.62", "2.9", "over 100". */
export function times(ratio: number): string {
  if (ratio > 100) return "over 100";
  if (ratio < 0.01) return "under 0.01";
  return ratio >= 10 ? ratio.toFixed(0) : ratio >= 2 ? ratio.toFixed(1) : ratio.toFixed(2);
}

const minus = (text: string): string => text.replace(/^-/, "−");
