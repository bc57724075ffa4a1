/**
 * Quantized weights of a run: made on demand, codes of the plans under comparison kept, float weights never.
 */
import type { ArrayStore } from "../calibrate/index.ts";
import type { Algebra } from "../core/algebra.ts";
import { BitloomError } from "../core/errors.ts";
import type { Event } from "../core/events.ts";
import type { WeightFormat } from "../core/format.ts";
import type { Layer, LayerId } from "../core/layer.ts";
import type { QuantizeOptions } from "../core/method.ts";
import { dequantize, type QuantizedTensor } from "../core/quantized.ts";
import type { LayerStats } from "../core/stats.ts";
import type { Matrix } from "../core/tensor.ts";
import { type Quantizer, quantizeWeight } from "../quantize/index.ts";
import { rtn } from "../quantize/rtn.ts";

export interface WeightStoreOptions {
  readonly quantizer: Quantizer;
  readonly options: QuantizeOptions;
  readonly stats: ReadonlyMap<LayerId, LayerStats>;
  readonly algebra: Algebra;
  readonly arrays: ArrayStore;
  readonly onEvent: ((event: Event) => void) | undefined;
}

export interface WeightStore {
  /** Codes under the run's quantizer; kept, so that every plan that shares them pays once. */
  codes(layer: Layer, format: WeightFormat): Promise<QuantizedTensor>;
  /** Gives up the kept codes; those that are asked for again are made again. */
  forget(): void;
  /** Ŵ under the run's quantizer; not kept. */
  quantized(layer: Layer, format: WeightFormat): Promise<Matrix>;
  /** Ŵ by round-to-nearest; not kept. */
  rounded(layer: Layer, format: WeightFormat): Promise<Matrix>;
}

/** Memory: the float weight asked for last; one byte per weight and kept format goes to `arrays`. */
export function createWeightStore(store: WeightStoreOptions): WeightStore {
  const kept = new Map<string, Promise<HeldTensor>>();
  let last: { readonly id: LayerId; readonly weight: Promise<Matrix> } | undefined;
  const read = (layer: Layer) => {
    if (last?.id !== layer.id) last = { id: layer.id, weight: layer.readWeight() };
    return last.weight;
  };
  const make = async (layer: Layer, format: WeightFormat, quantizer: Quantizer) => {
    const stats = store.stats.get(layer.id) ?? ({ layer: layer.id, tokens: 0 } as LayerStats);
    const weight = await read(layer);
    const options = { ...store.options, onEvent: store.onEvent };
    try {
      return await quantizeWeight(
        { weight, format, stats, options, algebra: store.algebra },
        quantizer,
      );
    } catch (error) {
      if (!(error instanceof BitloomError)) throw error;
      throw new BitloomError(error.code, `Layer "${layer.id}": ${error.message}`, error.detail, {
        cause: error,
      });
    }
  };
  return {
    async codes(layer, format) {
      const key = `${layer.id} ${format.id}`;
      const known =
        kept.get(key) ??
        make(layer, format, store.quantizer).then((made) => holdTensor(store.arrays, made));
      kept.set(key, known);
      return (await known).read();
    },
    forget() {
      for (const held of kept.values()) {
        held.then(
          ({ drop }) => drop(),
          () => {},
        );
      }
      kept.clear();
    },
    quantized: async (layer, format) => dequantize(await make(layer, format, store.quantizer)),
    rounded: async (layer, format) => dequantize(await make(layer, format, rtn)),
  };
}

/** A quantized tensor whose arrays are held by a store. */
export interface HeldTensor {
  /** The tensor, read anew each time. */
  read(): QuantizedTensor;
  /** It is not needed any more. */
  drop(): void;
}

export function holdTensor(arrays: ArrayStore, tensor: QuantizedTensor): HeldTensor {
  const codes = arrays.put(tensor.codes);
  const scales = arrays.put(tensor.scales);
  const zeroPoints = tensor.zeroPoints && arrays.put(tensor.zeroPoints);
  const { format, rows, cols } = tensor;
  return {
    read: () => ({
      ...{ format, rows, cols },
      codes: codes.read(),
      scales: scales.read(),
      zeroPoints: zeroPoints?.read(),
    }),
    drop() {
      for (const array of [codes, scales, zeroPoints]) array?.drop();
    },
  };
}
