/**
 * Reads the bit streams in which models store codes: least significant bits first, one after the other.
 */

/**
 * Unpacks `count` codes.
 *
 * @param stream - from the byte `from` on; a row of MatMulNBits is one stream as long as its blocks fill whole bytes,
 *   which blocks of a multiple of 8 codes do at every width.
 * @param into - uint8 [count]
 *
 * Cost: O(count).
 */
export function readCodes(
  stream: Uint8Array,
  from: number,
  bits: number,
  count: number,
  into: Uint8Array,
): void {
  if (bits === 8) {
    into.set(stream.subarray(from, from + count));
    return;
  }
  if (bits === 4) {
    const pairs = count >> 1;
    for (let at = 0; at < pairs; at++) {
      const byte = stream[from + at];
      into[2 * at] = byte & 15;
      into[2 * at + 1] = byte >> 4;
    }
    if (count & 1) into[count - 1] = stream[from + pairs] & 15;
    return;
  }
  const mask = (1 << bits) - 1;
  let held = 0;
  let heldBits = 0;
  let next = from;
  for (let at = 0; at < count; at++) {
    if (heldBits < bits) {
      held |= stream[next++] << heldBits;
      heldBits += 8;
    }
    into[at] = held & mask;
    held >>= bits;
    heldBits -= bits;
  }
}
