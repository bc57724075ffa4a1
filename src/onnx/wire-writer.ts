/**
 * The protobuf wire format as bytes: tags, varints, floats and texts of small, new messages. The other half of `wire.ts`.
 * Not here: which field means what (`schema.ts`), and large payloads, which travel as pieces (`piece.ts`).
 * Invariant: varints have their shortest form, so the same input gives the same bytes as any protobuf library.
 */

export type WireType = 0 | 1 | 2 | 5;

/** A varint takes at most ten bytes: 64 bits, seven in each. */
const maxVarintBytes = 10;
const firstCapacity = 32;

const encoder = new TextEncoder();

/** Collects bytes; each call appends. */
export class WireWriter {
  #bytes = new Uint8Array(firstCapacity);
  #length = 0;

  /** The key in front of a field: `field`, 1 … 2^29 − 1, and how its value is stored. */
  tag(field: number, wireType: WireType): this {
    return this.#varint(((field << 3) | wireType) >>> 0, 0);
  }

  /**
   * A signed 64-bit integer as a varint; negative ones take ten bytes.
   *
   * @param value - fractions are cut off, NaN counts as 0; at or beyond ±2^63, where the "to the end" of Slice lies,
   *   the nearest int64 is written.
   */
  int64(value: number): this {
    if (value >= 2 ** 63) return this.#varint(0xffffffff, 0x7fffffff);
    if (value < -(2 ** 63)) return this.#varint(0, 0x80000000);
    const magnitude = Math.trunc(Math.abs(value));
    const low = magnitude >>> 0;
    const high = ((magnitude - low) / 2 ** 32) >>> 0;
    if (value >= 0) return this.#varint(low, high);
    // Two's complement in halves: the carry reaches the high half only when the low one is 0.
    return this.#varint(-low >>> 0, (low === 0 ? -high : ~high) >>> 0);
  }

  /** A float32, little-endian. */
  float(value: number): this {
    this.#reserve(4);
    new DataView(this.#bytes.buffer).setFloat32(this.#length, value, true);
    this.#length += 4;
    return this;
  }

  /** A length and the text as UTF-8; half a surrogate pair becomes U+FFFD. */
  string(text: string): this {
    const bytes = encoder.encode(text);
    this.int64(bytes.byteLength);
    this.#reserve(bytes.byteLength);
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.byteLength;
    return this;
  }

  /** A copy of the bytes so far. */
  finish(): Uint8Array {
    return this.#bytes.slice(0, this.#length);
  }

  /** @param low - bits 0 … 31, unsigned; `high`: bits 32 … 63, unsigned. */
  #varint(low: number, high: number): this {
    this.#reserve(maxVarintBytes);
    while (high > 0 || low > 0x7f) {
      this.#bytes[this.#length++] = (low & 0x7f) | 0x80;
      low = ((low >>> 7) | (high << 25)) >>> 0;
      high >>>= 7;
    }
    this.#bytes[this.#length++] = low;
    return this;
  }

  #reserve(count: number): void {
    const needed = this.#length + count;
    if (needed <= this.#bytes.length) return;
    const larger = new Uint8Array(Math.max(needed, 2 * this.#bytes.length));
    larger.set(this.#bytes);
    this.#bytes = larger;
  }
}
