/**
 * What every registered scorer must do, on a toy transformer and on a graph without blocks. A new one is tested the
 * moment its line in the registry exists.
 */
import { afterAll, describe, expect, test } from "vitest";
import { statistics } from "../../src/calibrate/index.ts";
import { parseFormat } from "../../src/core/format.ts";
import type { ScoreInput, Scorer } from "../../src/core/score.ts";
import type { Model } from "../../src/onnx/index.ts";
import { createRuntime } from "../../src/runtime/index.ts";
import { type ScorerName, scoreLayers, scorers } from "../../src/score/index.ts";
import { type Bench, bench, widths } from "../score/bench.ts";
import { toyPerceptron, toyTransformer } from "../support/toy-models.ts";

const one = createRuntime({ threads: 1 });
const two = createRuntime({ threads: 2 });
afterAll(() => Promise.all([one.close(), two.close()]));

const registry: readonly [string, Scorer][] = Object.entries(scorers);

/** Scorers that are not defined on every graph, and why. */
const needBlocks = new Set(["lim", "zd"]);

const benches = new Map<string, Promise<Bench>>();
/** Benches are shared by all scorers: making one takes a calibration run. */
const benchOf = (name: string, model: () => Model) => {
  const known = benches.get(name) ?? bench(model(), two);
  benches.set(name, known);
  return known;
};
const transformer = (seed: number) =>
  benchOf(`transformer ${seed}`, () => toyTransformer({ seed, tied: seed % 2 === 0 }));
const seeds = [1, 2, 3];

const lossesOf = async (input: ScoreInput, scorer: Scorer) =>
  [...(await scoreLayers(input, scorer)).values()].map(({ losses }) => losses);

describe.each(registry)("%s", (name, scorer) => {
  test("describes itself", () => {
    expect(scorer.summary).toMatch(/^\S.*[^.]$/);
    expect(scorer.source).not.toBe("");
    expect(scorer.unit).not.toBe("");
    for (const need of scorer.needs) expect(Object.keys(statistics)).toContain(need);
  });

  test("reads only the statistics that it declares, and the probe only when it says so", async () => {
    const { input } = await transformer(1);
    const allowed = new Set<string>(["layer", "tokens", ...scorer.needs]);
    const guarded = new Map(
      [...input.stats].map(([id, entry]) => [
        id,
        new Proxy(entry, {
          get(target, key) {
            if (typeof key === "string" && !allowed.has(key)) throw new Error(`reads ${key}`);
            return Reflect.get(target, key);
          },
        }),
      ]),
    );
    let probes = 0;
    const probe = () => {
      probes++;
      return input.probe();
    };
    await scoreLayers({ ...input, stats: guarded, probe }, scorer);
    expect(probes).toBe(scorer.forward ? 1 : 0);
  });

  test("losses fall with the width, on average over seeds and layers", async () => {
    const sums = widths.map(() => 0);
    for (const seed of seeds) {
      const { input } = await transformer(seed);
      for (const losses of await lossesOf(input, scorer)) {
        expect(losses.every((loss) => Number.isFinite(loss) && loss >= 0)).toBe(true);
        losses.forEach((loss, f) => {
          sums[f] += loss;
        });
      }
    }
    for (let f = 1; f < sums.length; f++) expect(sums[f]).toBeLessThan(0.6 * sums[f - 1]);
  });

  test("an exactly representable matrix costs nothing", async () => {
    const formats = ["int4-b16", "int8-b16"].map(parseFormat);
    const exact = await bench(toyTransformer({ exact: true }), two, { formats });
    expect(new Set((await lossesOf(exact.input, scorer)).flat())).toEqual(new Set([0]));
  });

  test("same input, same losses, whatever the number of workers", async () => {
    const { input, model } = await transformer(2);
    const first = await scoreLayers(input, scorer);
    expect(await scoreLayers(input, scorer)).toEqual(first);
    const single = await bench(model, one);
    expect(await scoreLayers(single.input, scorer)).toEqual(first);
  });

  test("stops when the signal fires", async () => {
    const { stoppable } = await transformer(1);
    const controller = new AbortController();
    let events = 0;
    const onEvent = () => {
      events++;
      controller.abort();
    };
    const work = scoreLayers({ ...stoppable(controller.signal), onEvent }, scorer);
    await expect(work).rejects.toMatchObject({ code: "aborted" });
    expect(events).toBeLessThanOrEqual(3);
    const before = scoreLayers(stoppable(AbortSignal.abort()), scorer);
    await expect(before).rejects.toMatchObject({ code: "aborted" });
  });

  test("reports its progress to the end", async () => {
    const { input } = await transformer(1);
    const seen: number[][] = [];
    await scoreLayers(
      {
        ...input,
        onEvent: (event) => event.type === "progress" && seen.push([event.done, event.total]),
      },
      scorer,
    );
    expect(seen.map(([done]) => done)).toEqual(seen.map((_, i) => i + 1));
    expect(new Set(seen.map(([, total]) => total))).toEqual(new Set([seen.length]));
  });

  test.skipIf(needBlocks.has(name))("works on a graph without blocks", async () => {
    const { input } = await benchOf("perceptron", () => toyPerceptron());
    expect(input.blocks).toEqual([]);
    const losses = await lossesOf(input, scorer);
    expect(losses.length).toBe(2);
    for (const ofLayer of losses) expect(ofLayer[0]).toBeGreaterThan(ofLayer[3]);
  });

  test.runIf(needBlocks.has(name))("says that a graph has no blocks", async () => {
    const { input } = await benchOf("perceptron", () => toyPerceptron());
    const error = await scoreLayers(input, name as ScorerName).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: "unsupported", detail: { what: name } });
    expect((error as Error).message).toMatch(/no residual Add .* Use --scorer/);
  });
});
