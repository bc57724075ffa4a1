/** Numbers for people. JSON documents carry them unrounded. */
import { formatBytes } from "../index.ts";

/** "1,187,220 bytes (1.2 MB)"; digits grouped alike in every locale. */
export const exactBytes = (bytes: number): string =>
  bytes < 1000 ? `${bytes} bytes` : `${grouped(bytes)} bytes (${formatBytes(bytes)})`;

export const grouped = (count: number): string => count.toLocaleString("en-US");

/** Three significant digits: "0.0123", "1.2e-5", "0". */
export const significant = (value: number, digits = 3): string => {
  if (value === 0) return "0";
  const text = value.toPrecision(digits);
  return Math.abs(value) >= 1e-3 && Math.abs(value) < 1e6
    ? text.includes("e")
      ? String(Number(text))
      : text
    : value.toExponential(digits - 2);
};

/** "21.4 dB"; null stands for an exact result. */
export const decibel = (db: number | null): string =>
  db === null ? "exact" : `${db.toFixed(1)} dB`;

export const percent = (share: number, digits = 1): string => `${(100 * share).toFixed(digits)}%`;

/** "12 ms", "3.8 s", "2 min 5 s". */
export function duration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
}

/** "1 layer", "12 layers". */
export const counted = (count: number, noun: string): string =>
  `${grouped(count)} ${noun}${count === 1 ? "" : "s"}`;
