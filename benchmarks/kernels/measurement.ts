/**
 * What is measured, and as what speed it is reported.
 */
import type { ActivationType } from "../../native/index.ts";
import { median } from "../harness/figures.ts";
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

/** Speed of a product, from its milliseconds. */
export const gopsOf =
  ({ m, n, k }: Pick<Candidate, "m" | "n" | "k">) =>
  (ms: number): number =>
    (2 * m * n * k) / ms / 1e6;

export const gops = (candidate: Candidate): number => gopsOf(candidate)(median(candidate.times));
