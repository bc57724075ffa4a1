/**
 * What is measured, and how it is summed up.
 */
import type { ActivationType } from "../../native/index.ts";
import type { Rival } from "./rivals.ts";

type ByBits = Readonly<Record<string, number>>;
type ByRows<T> = Readonly<Record<string, T>>;
export interface Plan {
  readonly shapes: readonly { readonly name: string; readonly k: number; readonly n: number }[];
  readonly rows: readonly number[];
  readonly targets: {
    readonly shape: string;
    readonly gops: Readonly<Record<ActivationType, ByRows<ByBits>>>;
    readonly timesWeb: Readonly<Record<ActivationType, ByRows<number>>>;
    readonly timesNode: Readonly<Record<ActivationType, ByRows<number>>>;
    readonly twoThreads: number;
    readonly coldShareOfReadBandwidth: number;
  };
}

/** One product of one library, checked and ready to be timed. */
export interface Candidate {
  readonly library: "bitloom" | Rival;
  readonly kernel: string;
  readonly shape: string;
  readonly k: number;
  readonly n: number;
  readonly m: number;
  readonly bits: number;
  readonly threads: number;
  readonly error: number;
  readonly run: () => void | Promise<void>;
  readonly times: number[];
}

export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

export function gops({ m, n, k, times }: Candidate): number {
  return (2 * m * n * k) / median(times) / 1e6;
}
