/** Colours of widths: few bits warm, many cold, floats grey. Wherever they are used the width is written too. */

const widths = [2, 3, 4, 5, 6, 8, 16, 32] as const;

/** "var(--b4)". */
export function bitsColour(bits: number): string {
  const known = widths.find((width) => bits <= width) ?? 32;
  return `var(--b${known})`;
}
