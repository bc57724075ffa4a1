/**
 * The one error class of the library. Message grammar: what failed, where, expected, got, what to do.
 */

export interface ErrorDetails {
  /** The file is not a readable ONNX model. */
  "bad-model": { readonly file: string; readonly where?: string };
  /** Valid, but outside what the library does. */
  unsupported: { readonly what: string; readonly node?: string };
  /** Calibration or evaluation input that does not fit the graph. */
  "bad-data": { readonly input: string; readonly expected?: string; readonly got?: string };
  /** A wrong option, pin or plan file. */
  "bad-option": { readonly option: string; readonly got?: string };
  /** No plan fits the budget. */
  "infeasible-budget": {
    readonly budgetBytes: number;
    readonly minBytes: number;
    readonly maxBytes: number;
  };
  /** The quantized model is worse than the caller's bound; nothing was written. */
  "quality-missed": { readonly measure: string; readonly limit: number; readonly got: number };
  /** No finite result after the documented rescue. */
  numeric: { readonly layer: string; readonly step: string };
  /** A kernel or instruction set is missing. */
  kernel: { readonly kernel: string; readonly isa?: string };
  /** The result could not be written. */
  output: { readonly path: string };
  /** The signal fired. */
  aborted: { readonly stage: string };
}

/** What went wrong; see `ErrorDetails` for when. */
export type ErrorCode = keyof ErrorDetails;

/** Every failure the library reports; `code` tells which, `detail` carries its typed facts. */
export class BitloomError<C extends ErrorCode = ErrorCode> extends Error {
  override readonly name = "BitloomError";
  readonly code: C;
  readonly detail: ErrorDetails[C];

  constructor(code: C, message: string, detail: ErrorDetails[C], options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
    this.detail = detail;
  }
}

/** Narrows an unknown value to a `BitloomError`, optionally of one code. */
export function isBitloomError<C extends ErrorCode = ErrorCode>(
  error: unknown,
  code?: C,
): error is BitloomError<C> {
  return error instanceof BitloomError && (code === undefined || error.code === code);
}

/** Asserts what the library itself guarantees; a failure is a bug in bitloom, never the caller's mistake. */
export function invariant(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Error(`bug in bitloom: ${message}`);
}

/** Throws `aborted` when the signal has fired. */
export function throwIfAborted(signal: AbortSignal | undefined, stage: string): void {
  if (signal?.aborted) {
    throw new BitloomError("aborted", `Interrupted during ${stage}; nothing was written.`, {
      stage,
    });
  }
}
