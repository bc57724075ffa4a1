/**
 * Quantizes activations: float32 rows to int8 or int16 codes with a scale per span of 128 K and running sums.
 *
 *   s = max|a| / L over the span ;  q = round(a · L / max|a|), ties to even ;  L = 127 or 32767
 *
 * Why a scale per span and not per row: activations of language models have outliers, and one of them would cost every
 * other element of its row the resolution. With 4 channels of 2048 a hundred times larger, a product's error falls from
 * 8.0e-2 to 2.5e-2, for 4 % of the speed at M = 128 and 1 % at M = 1; native/README.md has the table.
 * Cost: O(M · K), two passes over each span, which stays in the first-level cache.
 */
import {
  f32,
  f32x4,
  i8x16,
  i16x8,
  i32,
  i32x4,
  memory,
  select,
  type V128,
  v128,
} from "../assembler/index.ts";
import { defineKernel, type KernelCode } from "../kernel.ts";
import { type ActivationType, arithmetics } from "./arithmetic.ts";
import { spanSize } from "./layout.ts";
import { stepSize, tileOf } from "./tiles.ts";

/** Adding 1.5 · 2^23 leaves the rounded integer in the low bits of a float32, for |x| < 2^22. */
const roundingBias = 12582912;
const roundingBiasBits = 0x4b400000;
/** Below this the reciprocal could overflow; such spans count as zero. */
const smallest = 1e-30;

export const quantizeFields = {
  /** float32 [M, K] */
  input: "i32",
  codes: "i32",
  sums: "i32",
  scales: "i32",
  k: "i32",
  spans: "i32",
  /** Rows of the lower tiles, and how many tiles have one more. */
  rows: "i32",
  tallTiles: "i32",
} as const;
type Code = KernelCode<typeof quantizeFields>;

/** An infinity or NaN makes the scale of its span infinite or NaN, so it reaches the output. */
function build(code: Code, activation: ActivationType): void {
  const { input, codes, sums, scales, k, spans } = code.fields;
  const { laneBits, limit } = arithmetics[activation];
  const bytesPerK = laneBits / 8;
  const magnitudeMask = code.local("v128", i32x4.splat(i32.const(0x7fffffff)));
  const bias = code.local("v128", f32x4.splat(f32.const(roundingBias)));
  const biasBits = code.local("v128", i32x4.splat(i32.const(roundingBiasBits)));
  const inverse = code.local("v128");
  const largest = code.local("v128");
  const source = code.local("i32");
  const step = code.local("i32");
  const from = code.local("i32");
  const row = code.local("i32");
  const codesTo = code.local("i32");
  const sumsTo = code.local("i32");
  const scalesTo = code.local("i32");
  const total = code.local("i32");
  const lanes = code.locals(8, "v128");
  const whole = code.local("i32", i32.div_u(k, i32.const(stepSize)));
  // The last, partial step of a row is read from a padded copy; steps behind it read zeros.
  const padding = code.scratch;
  const stepBytes = 4 * stepSize;
  const setFrom = () => {
    const isPartial = i32.eq(step, whole);
    const outside = select(padding, i32.add(padding, i32.const(stepBytes)), isPartial);
    const inside = i32.add(source, i32.mul(step, i32.const(stepBytes)));
    from.set(select(inside, outside, i32.lt_s(step, whole)));
  };

  const item = code.local("i32", code.begin);
  code.for(item, code.end, 1, () => {
    const tile = tileOf(code, item);
    const stride = code.local("i32", i32.mul(tile.height, i32.const(4)));
    row.set(i32.const(0));
    code.for(row, tile.height, 1, () => {
      const lane = code.local("i32", i32.mul(row, i32.const(4)));
      const rowBytes = i32.mul(spans, i32.const(spanSize * bytesPerK));
      codesTo.set(i32.add(i32.add(codes, i32.mul(tile.row, rowBytes)), lane));
      const sumBytes = i32.add(i32.mul(spans, i32.const(spanSize / 4)), i32.const(4));
      sumsTo.set(i32.add(i32.add(sums, i32.mul(tile.row, sumBytes)), lane));
      const scaleBytes = i32.mul(spans, i32.const(4));
      scalesTo.set(i32.add(i32.add(scales, i32.mul(tile.row, scaleBytes)), lane));
      source.set(i32.add(input, i32.mul(i32.mul(i32.add(tile.row, row), k), i32.const(4))));
      const wholeBytes = i32.mul(whole, i32.const(stepBytes));
      code.do(memory.fill(padding, i32.const(0), i32.const(2 * stepBytes)));
      code.do(
        memory.copy(
          padding,
          i32.add(source, wholeBytes),
          i32.sub(i32.mul(k, i32.const(4)), wholeBytes),
        ),
      );
      total.set(i32.const(0));
      code.do(i32.store(sumsTo, total));
      step.set(i32.const(0));
      code.repeat(spans, () => {
        largest.set(v128.zero());
        code.repeat(spanSize / stepSize, () => {
          setFrom();
          for (let at = 0; at < 8; at++) {
            // Magnitudes compare as integers, where NaN is the largest.
            const magnitude = v128.and(v128.load(from, 16 * at), magnitudeMask);
            largest.set(i32x4.max_s(largest, magnitude));
          }
          code.advance(step, 1);
        });
        largest.set(i32x4.max_s(largest, swapped(largest, 8)));
        largest.set(i32x4.max_s(largest, swapped(largest, 4)));
        const maximum = code.local("f32", f32x4.extract_lane(largest, 0));
        const isZero = code.local("i32", f32.lt(maximum, f32.const(smallest)));
        const scale = f32.div(maximum, f32.const(limit));
        const reciprocal = f32.div(f32.const(limit), maximum);
        code.do(f32.store(scalesTo, select(f32.const(0), scale, isZero)));
        code.advance(scalesTo, stride);
        inverse.set(f32x4.splat(select(f32.const(0), reciprocal, isZero)));

        code.advance(step, -spanSize / stepSize);
        code.repeat(spanSize / stepSize, () => {
          setFrom();
          for (const [at, lane] of lanes.entries()) {
            const rounded = f32x4.add(f32x4.mul(v128.load(from, 16 * at), inverse), bias);
            lane.set(i32x4.sub(rounded, biasBits));
          }
          for (const half of [lanes.slice(0, 4), lanes.slice(4)]) {
            const sum = code.local(
              "v128",
              i32x4.add(i32x4.add(half[0], half[1]), i32x4.add(half[2], half[3])),
            );
            sum.set(i32x4.add(sum, swapped(sum, 8)));
            sum.set(i32x4.add(sum, swapped(sum, 4)));
            total.set(i32.add(total, i32x4.extract_lane(sum, 0)));
            code.advance(sumsTo, stride);
            code.do(i32.store(sumsTo, total));
          }
          for (const packed of narrowed(lanes, laneBits)) {
            const vector = code.local("v128", packed);
            for (let at = 0; at < 4; at++) {
              code.do(v128.store32_lane(codesTo, vector, at));
              code.advance(codesTo, stride);
            }
          }
          code.advance(step, 1);
        });
      });
    });
  });
}

/** Bytes exchanged so that a vector meets its other half (8) or its other lane (4). */
function swapped(vector: V128, distance: 4 | 8): V128 {
  const order = Array.from({ length: 16 }, (_, at) => at ^ distance);
  return i8x16.shuffle(vector, vector, order);
}

function narrowed(lanes: readonly V128[], laneBits: 8 | 16): V128[] {
  const pairs = (vectors: readonly V128[], join: (a: V128, b: V128) => V128): V128[] =>
    vectors.flatMap((vector, at) => (at % 2 === 0 ? [join(vector, vectors[at + 1])] : []));
  const words = pairs(lanes, i16x8.narrow_i32x4_s);
  return laneBits === 16 ? words : pairs(words, i8x16.narrow_i16x8_s);
}

function quantizeKernel(activation: ActivationType) {
  const { letters, tileRows, codesPerLane } = arithmetics[activation];
  return defineKernel({
    name: `f32-${letters}-quantize-${tileRows}c${codesPerLane}-simd128`,
    isa: "simd128",
    fields: quantizeFields,
    item: "tile of rows",
    scratchBytes: () => 8 * stepSize,
    build: (code) => build(code, activation),
  });
}

export const quantizeKernels = {
  int8: quantizeKernel("int8"),
  int16: quantizeKernel("int16"),
} as const;
