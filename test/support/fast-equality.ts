/**
 * Arrays of equal bytes are equal: vitest looks at one element after the other, three microseconds each, which on the
 * files and weights of these tests came to minutes.
 */
import { expect } from "vitest";

const bytesOf = ({ buffer, byteOffset, byteLength }: ArrayBufferView) =>
  Buffer.from(buffer, byteOffset, byteLength);

expect.addEqualityTesters([
  (a: unknown, b: unknown) => {
    if (!ArrayBuffer.isView(a) || !ArrayBuffer.isView(b)) return undefined;
    // Vitest judges what differs: NaN has several encodings, and its message names the element.
    return a.constructor === b.constructor && bytesOf(a).equals(bytesOf(b)) ? true : undefined;
  },
]);
