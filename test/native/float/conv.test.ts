import { describe, expect, test } from "vitest";
import {
  type ConvAttributes,
  type ConvPlan,
  type ConvTransposeAttributes,
  planConv,
  planConvTranspose,
} from "../../../native/float/conv-plan.ts";
import { runKernel } from "../harness.ts";
import { epsilon, expectWithin, randomFloats } from "./numbers.ts";

type Numbers = readonly number[];
const sizeOf = (shape: Numbers) => shape.reduce((product, size) => product * size, 1);

interface How {
  readonly bias?: boolean;
  readonly misalign?: number;
  readonly cut?: number;
}

function run(plan: ConvPlan, shape: Numbers, weightShape: Numbers, how: How) {
  const x = randomFloats(sizeOf(shape), 1);
  const given = randomFloats(sizeOf(weightShape), 2);
  const weight = new Float32Array(plan.weightLength);
  plan.packWeight(weight, given);
  const bias = randomFloats(plan.shape[1], 3);
  const out = new Float32Array(sizeOf(plan.shape));
  runKernel({
    kernel: plan.kernel,
    arrays: { x, weight, out, ...(how.bias && { bias }) },
    values: { ...(!how.bias && { bias: 0 }), ...plan.values },
    items: plan.items,
    ...(how.misalign !== undefined && { misalign: how.misalign }),
    ...(how.cut !== undefined && {
      ranges: [
        [how.cut, plan.items],
        [0, how.cut],
      ],
    }),
  });
  return { x, given, out, bias: how.bias ? bias : bias.fill(0) };
}

/** Adds every product of a convolution to `sum`, by scattering (transposed) or gathering, one tap at a time. */
function fold(
  shape: Numbers,
  outShape: Numbers,
  weightShape: Numbers,
  attributes: ConvAttributes & { readonly pads: Numbers },
  isTransposed: boolean,
  add: (out: number, x: number, weight: number) => void,
): void {
  const two = (list: Numbers) => (list.length === 1 ? [1, list[0]] : list);
  const [height, width] = two(shape.slice(2));
  const [outHeight, outWidth] = two(outShape.slice(2));
  const [kernelHeight, kernelWidth] = two(weightShape.slice(2));
  const rank = shape.length - 2;
  const of = (list: Numbers | undefined, none: number): Numbers =>
    rank === 1 ? [none === 1 ? 1 : 0, list?.[0] ?? none] : (list ?? [none, none]);
  const [strideY, strideX] = of(attributes.strides, 1);
  const [dilationY, dilationX] = of(attributes.dilations, 1);
  const [padTop, padLeft] = rank === 1 ? [0, attributes.pads[0]] : attributes.pads;
  const groups = attributes.group ?? 1;
  const [, channels] = shape;
  const [, outChannels] = outShape;
  for (let n = 0; n < shape[0]; n += 1)
    for (let o = 0; o < outChannels; o += 1)
      for (let c = 0; c < channels / groups; c += 1) {
        const group = Math.floor(o / (outChannels / groups));
        const input = group * (channels / groups) + c;
        const [own, other] = isTransposed ? [input, o % (outChannels / groups)] : [o, c];
        // The roles of the two images swap when transposed.
        const [rows, columns] = isTransposed ? [height, width] : [outHeight, outWidth];
        const [bigRows, bigColumns] = isTransposed ? [outHeight, outWidth] : [height, width];
        for (let y = 0; y < rows; y += 1)
          for (let x = 0; x < columns; x += 1)
            for (let i = 0; i < kernelHeight; i += 1)
              for (let j = 0; j < kernelWidth; j += 1) {
                const [bigY, bigX] = [
                  y * strideY + i * dilationY - padTop,
                  x * strideX + j * dilationX - padLeft,
                ];
                if (bigY < 0 || bigY >= bigRows || bigX < 0 || bigX >= bigColumns) continue;
                const [inY, inX, outY, outX] = isTransposed
                  ? [y, x, bigY, bigX]
                  : [bigY, bigX, y, x];
                add(
                  ((n * outChannels + o) * outHeight + outY) * outWidth + outX,
                  ((n * channels + input) * height + inY) * width + inX,
                  ((own * weightShape[1] + other) * kernelHeight + i) * kernelWidth + j,
                );
              }
      }
}

function compare(
  plan: ConvPlan,
  shape: Numbers,
  weightShape: Numbers,
  attributes: ConvAttributes & { readonly pads: Numbers },
  how: How,
  isTransposed: boolean,
): void {
  const { x, given, out, bias } = run(plan, shape, weightShape, how);
  const area = sizeOf(plan.shape.slice(2));
  const sum = Float64Array.from(out, (_, at) => bias[Math.floor(at / area) % plan.shape[1]]);
  const magnitude = sum.map(Math.abs);
  fold(shape, plan.shape, weightShape, attributes, isTransposed, (to, from, tap) => {
    sum[to] += x[from] * given[tap];
    magnitude[to] += Math.abs(x[from] * given[tap]);
  });
  const [low, high] = attributes.limits ?? [-Infinity, Infinity];
  const count = sizeOf(weightShape.slice(1));
  expectWithin(
    out,
    sum.map((value) => Math.min(Math.max(value, low), high)),
    (at) => (count / 2 + 4) * epsilon * magnitude[at],
  );
}

function check(
  shape: Numbers,
  weightShape: Numbers,
  attributes: ConvAttributes = {},
  how: How = {},
): ConvPlan {
  const plan = planConv(shape, weightShape, attributes);
  const pads = attributes.pads ?? shape.slice(2).flatMap(() => [0, 0]);
  compare(plan, shape, weightShape, { ...attributes, pads }, how, false);
  return plan;
}

describe("conv: |error| ≤ (k / 2 + 4) · ε · Σ|x||w|", () => {
  test("kernels, pads, strides, dilations over images of several widths", () => {
    for (const width of [5, 8, 17, 40]) {
      const shape = [1, 3, 6, width];
      check(shape, [5, 3, 3, 3], { pads: [1, 1, 1, 1] });
      check(shape, [4, 3, 3, 3], { pads: [0, 2, 1, 0], strides: [2, 2] });
      check(shape, [2, 3, 2, 3], { dilations: [2, 2] });
      check(shape, [9, 3, 1, 5], { pads: [0, 4, 0, 2], strides: [1, 3] });
      check(shape, [6, 3, 1, 1], {});
      check(shape, [6, 3, 1, 1], { strides: [2, 2] });
    }
  });

  test("sequences, batches, groups, biases, limits, misaligned by 4", () => {
    const how = { bias: true, misalign: 4 };
    check([2, 4, 19], [6, 4, 3], { pads: [1, 1] }, how);
    check([2, 4, 19], [6, 2, 3], { pads: [1, 1], group: 2, limits: [0, 0.5] }, how);
    check([2, 6, 5, 9], [9, 2, 3, 3], { pads: [1, 1, 1, 1], group: 3 }, how);
  });

  test("more channels and pixels than an item, k in blocks", () => {
    check([1, 2, 9, 20], [130, 2, 1, 3], {}, { bias: true });
    check([1, 130, 3, 9], [5, 130, 3, 3], { pads: [1, 1, 1, 1] }, { bias: true });
  });

  test("depthwise, with multipliers", () => {
    for (const width of [4, 7, 16, 21])
      for (const stride of [1, 2, 3]) {
        const attributes = { pads: [1, 1, 1, 1], strides: [stride, stride] };
        check([2, 3, 5, width], [3, 1, 3, 3], { ...attributes, group: 3 }, { bias: true });
        check([1, 2, 5, width], [6, 1, 3, 3], { ...attributes, group: 2, limits: [0, 6] });
      }
    check([1, 2, 30], [2, 1, 5], { pads: [8, 0], dilations: [2], group: 2 }, { misalign: 4 });
    const plan = check([1, 2, 30], [2, 1, 5], { group: 2 });
    expect(plan.kernel.name).toContain("depthwise");
  });

  test("automatic padding gives the sizes of the operator", () => {
    const shape = (autoPad: "SAME_UPPER" | "SAME_LOWER" | "VALID") =>
      planConv([1, 1, 7, 8], [1, 1, 3, 2], { autoPad, strides: [2, 3] });
    expect(shape("SAME_UPPER").shape).toEqual([1, 1, 4, 3]);
    expect(shape("VALID").shape).toEqual([1, 1, 3, 3]);
    expect(shape("SAME_UPPER").values).toMatchObject({ padTop: 1, padLeft: 0 });
    expect(planConv([1, 1, 4], [1, 1, 2], { autoPad: "SAME_LOWER" }).values.padLeft).toBe(1);
  });

  test("any split of the items gives the same bytes", () => {
    const [shape, weightShape] = [
      [2, 2, 9, 20],
      [130, 2, 3, 3],
    ];
    const plan = planConv(shape, weightShape);
    expect(plan.items).toBe(2 * 2 * 3);
    const whole = run(plan, shape, weightShape, {}).out;
    for (const cut of [1, 4, 6]) {
      expect(run(plan, shape, weightShape, { cut }).out).toEqual(whole);
    }
  });

  test("shapes that do not fit are refused", () => {
    expect(() => planConv([1, 3, 8], [2, 2, 3])).toThrow(/\[2,2,3\]/);
    expect(() => planConv([1, 3, 2], [2, 3, 3])).toThrow(/does not fit/);
    expect(() => planConv([1, 3, 4, 4, 4], [2, 3, 1, 1, 1])).toThrow(/one or two axes/);
  });
});

function checkTransposed(
  shape: Numbers,
  weightShape: Numbers,
  attributes: ConvTransposeAttributes = {},
  how: How = {},
): ConvPlan {
  const plan = planConvTranspose(shape, weightShape, attributes);
  const pads = attributes.pads ?? shape.slice(2).flatMap(() => [0, 0]);
  compare(plan, shape, weightShape, { ...attributes, pads }, how, true);
  return plan;
}

describe("transposed conv: |error| ≤ (k / 2 + 4) · ε · Σ|x||w|", () => {
  test("strides, pads, dilations, output padding, groups", () => {
    expect(checkTransposed([1, 2, 4, 5], [2, 3, 3, 3]).shape).toEqual([1, 3, 6, 7]);
    const strided = { strides: [2, 3], pads: [1, 0, 1, 1] };
    expect(checkTransposed([2, 4, 3, 5], [4, 3, 3, 3], strided).shape).toEqual([2, 3, 5, 14]);
    checkTransposed([1, 4, 3, 5], [4, 3, 2, 3], { ...strided, group: 2 }, { bias: true });
    checkTransposed([1, 2, 7], [2, 3, 3], { strides: [2], dilations: [2], outputPadding: [1] });
  });

  test("an output shape decides the padding", () => {
    const attributes = { strides: [2], outputShape: [1, 1, 9] };
    const plan = planConvTranspose([1, 1, 4], [1, 1, 5], attributes);
    expect(plan.shape).toEqual([1, 1, 9]);
    // 11 elements without padding, 1 of the 2 cut at the begin: 4 − 1.
    expect(plan.values.padLeft).toBe(3);
  });
});
