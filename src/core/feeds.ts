/**
 * Tensors that go into and come out of a session, with plain typed arrays as data.
 */
import type { DType } from "./tensor.ts";

/** Elements of a tensor, row-major. */
export type TensorData =
  | Float32Array
  | Float64Array
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array
  | readonly string[];

/** float16 and bfloat16 travel as their bit patterns (Uint16Array), bool as 0 or 1 (Uint8Array). */
export interface FeedTensor {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly data: TensorData;
}

/** Tensors by the name of the input or output. */
export type Feeds = Readonly<Record<string, FeedTensor>>;
