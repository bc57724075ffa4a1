/** Layers that the calibration data do not reach are said to be so. */
import { afterAll, expect, test } from "vitest";
import type { Notice } from "../../src/core/events.ts";
import { findLayers } from "../../src/layers/index.ts";
import { layerSqnrDb } from "../../src/pipeline/noise.ts";
import { collectStatistics } from "../../src/pipeline/statistics.ts";
import type { Subject } from "../../src/pipeline/subject.ts";
import { createRuntime } from "../../src/runtime/index.ts";
import { datasetOf, floatFeed, normals, toyPerceptron } from "../support/toy-models.ts";

const runtime = createRuntime();
afterAll(() => runtime.close());

test.each([
  [0, ["no-rows"]],
  [3, ["few-rows"]],
  [64, []],
])("%i rows of calibration data: notices %j", async (rows, expected) => {
  const model = toyPerceptron();
  const { layers } = findLayers(model.graph);
  const notices: Notice[] = [];
  const stats = await collectStatistics({
    subject: { model, layers, blocks: [] } as unknown as Subject,
    dataset: datasetOf([{ x: floatFeed(normals(rows * 16, 1), [rows, 16]) }]),
    needs: ["hessian"],
    runtime,
    onEvent(event) {
      if (event.type === "notice") notices.push(event.notice);
    },
  });
  expect(notices.map(({ code }) => code)).toEqual(expected);
  const weight = await layers[0].readWeight();
  const half = { ...weight, data: weight.data.map((w) => w / 2) };
  const own = stats.get(layers[0].id);
  expect(await layerSqnrDb(layers[0], half, own)).toBeCloseTo(20 * Math.log10(2), 4);
  expect(await layerSqnrDb(layers[0], weight, own)).toBe(Number.POSITIVE_INFINITY);
});
