/**
 * Ties a decoded view (attribute, value type) to its stored form, so that passing the view on loses nothing.
 * Invariant: the tie is not enumerable; a changed copy (`{ ...view }`) does not inherit it.
 */
import type { Piece } from "./piece.ts";
import type { FileContext } from "./tensor-data.ts";
import type { WireRecord } from "./wire.ts";

/** A record of a file, or new bytes: the content of a message, without its tag. */
export type Content =
  | { readonly record: WireRecord; readonly context: FileContext }
  /** `names`: values that subgraphs inside define. */
  | { readonly piece: Piece; readonly names?: ReadonlySet<string> };

const origin = Symbol("origin");

export function withOrigin<T extends object>(view: T, stored: Content): T {
  return Object.defineProperty(view, origin, { value: stored });
}

export function originOf(view: object): Content | undefined {
  return (view as { readonly [origin]?: Content })[origin];
}
