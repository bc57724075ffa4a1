import { describe, expect, test } from "vitest";
import { type PoolAttributes, planPool } from "../../../native/float/pool.ts";
import type { Kernel } from "../../../native/kernel.ts";
import { runKernel } from "../harness.ts";
import { epsilon, expectWithin, randomFloats } from "./numbers.ts";

type Kind = "max" | "average";

function run(kind: Kind, shape: readonly number[], attributes: PoolAttributes, cut?: number) {
  const count = shape.reduce((product, size) => product * size, 1);
  const x = randomFloats(count, 5);
  const { kernel, items, values, shape: outShape } = planPool(kind, shape, attributes);
  const out = new Float32Array(outShape.reduce((product, size) => product * size, 1));
  runKernel({
    kernel: kernel as Kernel,
    arrays: { x, out },
    values,
    items,
    misalign: 4,
    ...(cut !== undefined && {
      ranges: [
        [cut, items],
        [0, cut],
      ],
    }),
  });
  return { x, out, outShape };
}

/** Pools an image by the definition; pads are [top, left, bottom, right]. */
function check(kind: Kind, shape: readonly number[], attributes: PoolAttributes): void {
  const { x, out, outShape } = run(kind, shape, attributes);
  const [, , height, width] = shape;
  const [, , outHeight, outWidth] = outShape;
  const { strides = [1, 1], dilations = [1, 1], pads = [0, 0, 0, 0] } = attributes;
  const expected = out.map((_, at) => {
    const [x0, rest] = [at % outWidth, Math.floor(at / outWidth)];
    const [y0, plane] = [rest % outHeight, Math.floor(rest / outHeight)];
    const taken: number[] = [];
    let padded = 0;
    for (let i = 0; i < attributes.kernelShape[0]; i += 1) {
      for (let j = 0; j < attributes.kernelShape[1]; j += 1) {
        const row = y0 * strides[0] + i * dilations[0] - pads[0];
        const column = x0 * strides[1] + j * dilations[1] - pads[1];
        if (row < height + pads[2] && column < width + pads[3]) padded += 1;
        if (row < 0 || row >= height || column < 0 || column >= width) continue;
        taken.push(x[(plane * height + row) * width + column]);
      }
    }
    if (kind === "max") return Math.max(...taken);
    const sum = taken.reduce((total, value) => total + value, 0);
    return sum / (attributes.countIncludePad ? padded : taken.length);
  });
  const bound =
    kind === "max" ? 0 : attributes.kernelShape[0] * attributes.kernelShape[1] * epsilon;
  expectWithin(out, expected, () => bound);
}

describe.each<[Kind, string]>([
  ["max", "exact"],
  ["average", "|error| ≤ taps · ε · max|x|"],
])("%s pool, %s", (kind) => {
  test("windows, strides, pads, dilations, over images of several widths", () => {
    for (const width of [4, 7, 16, 21])
      for (const stride of [1, 2, 3])
        for (const countIncludePad of [false, true]) {
          const strides = [stride, stride];
          const shape = [1, 2, 6, width];
          check(kind, shape, { kernelShape: [2, 2], strides, countIncludePad });
          const pads = [1, 1, 1, 0];
          check(kind, shape, { kernelShape: [3, 3], strides, pads, countIncludePad });
          const dilations = [2, 1];
          check(kind, shape, { kernelShape: [3, 2], strides, dilations, countIncludePad });
          check(kind, shape, {
            kernelShape: [3, 3],
            strides,
            pads,
            ceilMode: true,
            countIncludePad,
          });
        }
  });

  test("any split of the items gives the same bytes", () => {
    const attributes = { kernelShape: [3, 3], pads: [1, 1, 1, 1] };
    const whole = run(kind, [2, 3, 5, 9], attributes).out;
    expect(run(kind, [2, 3, 5, 9], attributes, 11).out).toEqual(whole);
  });
});

test("sequences, and ceil mode that drops a window in the padding", () => {
  const attributes = { kernelShape: [1], strides: [2], pads: [0, 1], ceilMode: true };
  expect(planPool("max", [1, 2, 4], attributes).shape).toEqual([1, 2, 2]);
  const { x, out } = run("max", [1, 1, 4], { kernelShape: [2], strides: [2] });
  expect([...out]).toEqual([Math.max(x[0], x[1]), Math.max(x[2], x[3])]);
});
