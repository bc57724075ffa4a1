/**
 * One-row products whose weights lie beyond the cache, against the speed of plain reading.
 */
import {
  activationBytes,
  activationTypeFor,
  type LowBitMatrix,
  type LowBits,
  lowBitMatrix,
  quantizeActivations,
  type Tiers,
} from "../../native/index.ts";
import { median } from "../harness/figures.ts";
import type { Engine } from "./engine.ts";
import type { Plan } from "./measurement.ts";
import { readItemBytes, readKernel } from "./read-kernel.ts";
import { blockSize, randomInput, randomWeights } from "./weights.ts";

/** Larger than the last-level cache of most machines. */
export const coldBytes = 160 * 2 ** 20;

export interface ColdOptions {
  readonly engine: Engine;
  readonly shape: Plan["shapes"][number];
  readonly bitsList: readonly LowBits[];
  readonly tiers: Tiers;
}

export interface ColdSeries {
  readonly bits: LowBits;
  readonly matrix: LowBitMatrix;
  /** Address of the copies, shared by all series, and the bytes of this one. */
  readonly region: number;
  readonly bytes: number;
  readonly quantization: number;
  readonly calls: readonly number[];
  readonly read: number;
}

export interface ColdSpeed {
  readonly bits: LowBits;
  readonly matrix: LowBitMatrix;
  /** GB/s */
  readonly readSpeed: number;
  readonly productSpeed: number;
  readonly share: number;
}

/** Copies of the weights of the largest shape, one behind the other, so that each is out of the cache again. */
export function prepareCold({ engine, shape, bitsList, tiers }: ColdOptions): ColdSeries[] {
  const { k, n } = shape;
  const region = engine.allocate(coldBytes);
  const sink = engine.allocate(16);
  return bitsList.map((bits) => {
    const activation = activationTypeFor(bits, tiers, false);
    const matrix = lowBitMatrix({ n, k, bits, blockSize, symmetric: true, activation });
    const copies = Math.floor(coldBytes / matrix.bytes);
    const input = engine.allocate(4 * k);
    const activations = engine.allocate(activationBytes(1, k, activation));
    const output = engine.allocate(4 * n);
    engine.floats(input, k).set(randomInput(1, k));
    const quantization = engine.prepare(
      quantizeActivations(1, k, activation, { input, activations }),
    );
    const calls = Array.from({ length: copies }, (_, copy) =>
      engine.prepare(
        matrix.product(1, {
          activations,
          weights: region + copy * matrix.bytes,
          bias: 0,
          output,
        }) as never,
      ),
    );
    const bytes = copies * matrix.bytes;
    const items = Math.floor(bytes / readItemBytes);
    const read = engine.prepare({ kernel: readKernel, values: { from: region, sink }, items });
    return { bits, matrix, region, bytes, quantization, calls, read };
  });
}

/** Plain reads of the same bytes are timed in between. */
export function measureCold(
  engine: Engine,
  series: readonly ColdSeries[],
  samples: number,
): ColdSpeed[] {
  return series.map(({ bits, matrix, region, bytes, quantization, calls, read }) => {
    const { n, k } = matrix.shape;
    const weights = randomWeights(n, k, bits);
    const readRow = (row: number, into: Uint8Array) =>
      into.set(weights.codes.subarray(row * k, (row + 1) * k));
    const first = engine.bytes.subarray(region, region + matrix.bytes);
    matrix.pack({ readRow, scales: weights.scales }, first);
    for (let copy = 1; copy < calls.length; copy++) {
      engine.bytes.copyWithin(region + copy * matrix.bytes, region, region + matrix.bytes);
    }
    engine.run(quantization);
    const gigabytes = { read: [] as number[], product: [] as number[] };
    const time = (run: () => void) => {
      const start = performance.now();
      run();
      return bytes / (performance.now() - start) / 1e6;
    };
    for (let sample = 0; sample < samples; sample++) {
      gigabytes.read.push(time(() => engine.run(read)));
      gigabytes.product.push(
        time(() => {
          for (const call of calls) engine.run(call);
        }),
      );
    }
    const [readSpeed, productSpeed] = [median(gigabytes.read), median(gigabytes.product)];
    return { bits, matrix, readSpeed, productSpeed, share: productSpeed / readSpeed };
  });
}
