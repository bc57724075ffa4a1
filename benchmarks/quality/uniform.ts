/**
 * Uniform plans of every quantizer. Of each width the best is the one that is best on the evaluation data itself,
 * which favours it over everything that has to choose without seeing them.
 */
import { lossOf, type QuantizerName, uniformPlans } from "../../src/index.ts";
import type { Entry } from "./entry.ts";
import type { Bench } from "./measure.ts";
import { type Plan, type Propagation, planId } from "./plan.ts";

export interface UniformEntry extends Entry {
  readonly quantizer: QuantizerName;
  readonly propagation: Propagation;
  readonly bits: number;
  readonly format: string;
}

/** Formats of a width that are propagated too: the best without. Propagation takes several times as long. */
const propagatedFormats = 1;

export async function measureUniform(
  bench: Bench,
  options: {
    readonly quantizers: readonly QuantizerName[];
    readonly widths: readonly number[];
    /** How layers are rounded at a width. */
    readonly propagationsAt: (bits: number) => readonly Propagation[];
  },
): Promise<UniformEntry[]> {
  const { quantizers, propagationsAt, widths } = options;
  const all = uniformPlans(await bench.scores("gptq", "weight-error"));
  const plans = all.filter(({ format }) => widths.includes(format.bits));
  const entries: UniformEntry[] = [];
  const add = async (quantizer: QuantizerName, propagation: Propagation, some: typeof plans) => {
    const measured = some.map(({ picks }): Plan => ({ quantizer, propagation, picks }));
    const qualities = await bench.measure(measured);
    some.forEach(({ format, bytes }, at) => {
      const key = { kind: "uniform", quantizer, format: format.id, propagation };
      entries.push({
        ...{ quantizer, propagation, bits: format.bits, format: format.id },
        ...{ key, bytes, quality: qualities[at], details: { plan: planId(measured[at]) } },
      });
    });
  };
  for (const quantizer of quantizers) {
    await add(quantizer, "one-by-one", plans);
    for (const bits of widths) {
      const own = entries.filter((one) => one.quantizer === quantizer && one.bits === bits);
      const best = ranked(own)
        .slice(0, propagatedFormats)
        .map(({ format }) => format);
      const propagated = plans.filter(({ format }) => best.includes(format.id));
      for (const propagation of propagationsAt(bits)) {
        if (propagation !== "one-by-one") await add(quantizer, propagation, propagated);
      }
    }
  }
  return entries;
}

/** The best uniform plan of each width, quantizer and propagation. */
export function bestUniform(entries: readonly UniformEntry[]): UniformEntry[] {
  const groups = new Map<string, UniformEntry[]>();
  for (const entry of entries) {
    const group = JSON.stringify([entry.quantizer, entry.propagation, entry.bits]);
    groups.set(group, [...(groups.get(group) ?? []), entry]);
  }
  return [...groups.values()].map((group) => ranked(group)[0]);
}

const ranked = (entries: readonly UniformEntry[]) =>
  [...entries].sort((a, b) => lossOf(a.quality) - lossOf(b.quality));
