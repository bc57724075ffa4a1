/**
 * Budgets as people write them ("3.5bpw", "2.4MB", "25%") and the bytes they leave for quantizable weights.
 * Not here: choosing formats. Invariant: bits per weight speak of the weights, bytes and percent of the written file.
 */
import { BitloomError } from "../core/errors.ts";

export type Budget =
  /** Stored bits of all quantizable weights, with scales, zero points and padding, divided by their number. */
  | { readonly kind: "bits-per-weight"; readonly bitsPerWeight: number }
  /** Size of the written file with its external data. */
  | { readonly kind: "file-bytes"; readonly bytes: number }
  /** Size of the written file divided by the size of the float file, 0 < fraction ≤ 1. */
  | { readonly kind: "file-fraction"; readonly fraction: number };

/** What `budgetToBytes` must know of the model. */
export interface BudgetBasis {
  /** Number of quantizable weights; a tensor that several nodes share counts once. */
  readonly weights: number;
  /** Bytes of the float file with its external data. */
  readonly floatFileBytes: number;
  /** Bytes of the written file that are not quantizable weights: graph, other tensors, metadata. */
  readonly overheadBytes: number;
}

const bytesPerUnit: Readonly<Record<string, number>> = {
  B: 1,
  kB: 1e3,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
};

/**
 * Absorbs the rounding of decimal budgets: 4.1 bpw over 80 weights is 40.99999… bytes in float64 and means 41.
 * A relative 1e-12 is under one byte for every file below a terabyte.
 */
const roundingSlack = 1 + 1e-12;

const examples = `for example "3.5bpw", "2.4MB" or "25%"`;

/**
 * Reads a budget.
 *
 * @param text - a positive number and a unit: bpw, %, B, kB, KB, MB, GB (powers of 1000), KiB, MiB, GiB (of 1024).
 *
 * Throws: bad-option for another shape, a missing unit, zero, a negative number or more than 100%.
 */
export function parseBudget(text: string): Budget {
  const match = /^\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)\s*([a-zA-Z%]*)\s*$/.exec(text);
  if (!match) throw badBudget(text, "expected a number and a unit");
  const value = Number(match[1]);
  const unit = match[2];
  if (unit === "")
    throw badBudget(text, "the unit is missing: expected bpw, %, or B, kB, MB, GB, MiB");
  if (!Number.isFinite(value) || value <= 0) throw badBudget(text, "expected a number above zero");
  if (unit === "bpw") return { kind: "bits-per-weight", bitsPerWeight: value };
  if (unit === "%") {
    if (value > 100) throw badBudget(text, "expected at most 100% of the float file");
    return { kind: "file-fraction", fraction: value / 100 };
  }
  if (!Object.hasOwn(bytesPerUnit, unit)) {
    const units = ["bpw", "%", ...Object.keys(bytesPerUnit)].join(", ");
    throw badBudget(text, `unknown unit "${unit}": expected ${units}`);
  }
  const bytes = Math.floor(value * bytesPerUnit[unit] * roundingSlack);
  if (bytes < 1) throw badBudget(text, "expected at least 1B");
  return { kind: "file-bytes", bytes };
}

function badBudget(text: string, why: string): BitloomError {
  const message = `Cannot read the budget "${text}": ${why}. Write a number and a unit, ${examples}.`;
  return new BitloomError("bad-option", message, { option: "budget", got: text });
}

/**
 * Bytes that the quantizable weights may take.
 *
 *   bits per weight: ⌊b · weights / 8⌋ ;  file: ⌊file budget − overheadBytes⌋
 *
 * @returns whole bytes, ≥ 0.
 *
 * Throws: infeasible-budget when the rest of the file alone is over the budget.
 */
export function budgetToBytes(budget: Budget, basis: BudgetBasis): number {
  if (budget.kind === "bits-per-weight") {
    return Math.floor(((budget.bitsPerWeight * basis.weights) / 8) * roundingSlack);
  }
  const fileBytes =
    budget.kind === "file-bytes"
      ? budget.bytes
      : Math.floor(budget.fraction * basis.floatFileBytes * roundingSlack);
  const bytes = fileBytes - basis.overheadBytes;
  if (bytes >= 0) return bytes;
  const [got, least] = formatBytesApart(fileBytes, basis.overheadBytes);
  throw new BitloomError(
    "infeasible-budget",
    `Budget ${got} for the written file is below the ${least} that are not quantizable weights. Raise --budget, or give it in bits per weight, for example --budget 4bpw.`,
    {
      budgetBytes: fileBytes,
      minBytes: basis.overheadBytes,
      maxBytes: basis.floatFileBytes,
    },
  );
}

/** Bytes for people, in powers of 1000: "812 B", "3.4 kB", "13.4 MB". */
export function formatBytes(bytes: number): string {
  if (bytes < 1e3) return `${bytes} B`;
  if (bytes < 999_950) return `${(bytes / 1e3).toFixed(1)} kB`;
  if (bytes < 999_950_000) return `${(bytes / 1e6).toFixed(1)} MB`;
  return `${(bytes / 1e9).toFixed(2)} GB`;
}

/** Two sizes for one sentence: rounded while that keeps them apart, else to the byte. */
export function formatBytesApart(a: number, b: number): [string, string] {
  const rounded: [string, string] = [formatBytes(a), formatBytes(b)];
  return rounded[0] === rounded[1] ? [`${a} B`, `${b} B`] : rounded;
}
