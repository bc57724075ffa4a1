import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type BinaryName, binaryKernels, planBinary } from "../../../native/float/binary.ts";
import { broadcastShape, broadcastStrides } from "../../../native/float/broadcast.ts";
import { type ElementBytes, planWhere, whereKernels } from "../../../native/float/where.ts";
import { runKernel } from "../harness.ts";
import { edgeValues, expectClose, floats, random, relative, runSplit, ulp } from "./float-cases.ts";

type Shape = readonly number[];
const sizeOf = (shape: Shape) => shape.reduce((total, size) => total * size, 1);

/** Where each element of the broadcast shape comes from, by walking all indices. */
function sources(operand: Shape, shape: Shape): number[] {
  const strides = broadcastStrides(operand, shape);
  return Array.from({ length: sizeOf(shape) }, (_, flat) => {
    let rest = flat;
    let at = 0;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      at += (rest % shape[axis]) * strides[axis];
      rest = Math.floor(rest / shape[axis]);
    }
    return at;
  });
}

const pairs: readonly (readonly [Shape, Shape])[] = [
  [[], []],
  [[7], []],
  [[], [9]],
  [[5000], [5000]],
  [[3, 17], [17]],
  [
    [3, 17],
    [3, 1],
  ],
  [
    [5, 1],
    [1, 6],
  ],
  [
    [2, 3, 4, 5],
    [3, 1, 5],
  ],
  [
    [2, 1, 3, 1, 5, 1],
    [1, 4, 1, 2, 1, 3],
  ],
  [
    [2, 2049],
    [2, 1],
  ],
  [[0, 4], [4]],
];

type Twin = (a: number, b: number) => number;
interface Case {
  readonly twin: Twin;
  readonly name: string;
  readonly bound: (expected: number) => number;
}
const exact = (twin: Twin): Case => ({ twin, name: "exact", bound: relative(0.5) });
const truth = (twin: (a: number, b: number) => boolean): Case =>
  exact((a, b) => (twin(a, b) ? 1 : 0));
const erf = (x: number): number => {
  let term = x;
  let sum = x;
  for (let n = 1; n < 100; n++) {
    term *= -(x * x) / n;
    sum += term / (2 * n + 1);
  }
  return (2 / Math.sqrt(Math.PI)) * sum;
};
const gelu = (x: number) => 0.5 * x * (1 + erf(x * Math.SQRT1_2));
const geluTanh = (x: number) =>
  0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
const absolute = (units: number, twin: Twin): Case => ({
  twin,
  name: `within ${units} · 2⁻²³ for |a|, |b| ≤ 3`,
  bound: () => units * ulp,
});
const pow: Twin = (a, b) =>
  a === 1 || (a === -1 && Math.abs(b) === Number.POSITIVE_INFINITY) ? 1 : a ** b;

const arithmetic = {
  add: exact((a, b) => a + b),
  sub: exact((a, b) => a - b),
  mul: exact((a, b) => a * b),
  div: exact((a, b) => a / b),
  min: exact(Math.min),
  max: exact(Math.max),
};
const comparisons = {
  equal: truth((a, b) => a === b),
  less: truth((a, b) => a < b),
  "less-equal": truth((a, b) => a <= b),
  greater: truth((a, b) => a > b),
  "greater-equal": truth((a, b) => a >= b),
};
const prefixed = (prefix: string, cases: Readonly<Record<string, Case>>) =>
  Object.fromEntries(Object.entries(cases).map(([name, one]) => [`${prefix}-${name}`, one]));

const cases = {
  ...prefixed("f32", arithmetic),
  ...prefixed("f64", arithmetic),
  ...prefixed("f32-u8", comparisons),
  ...prefixed("f64-u8", comparisons),
  ...prefixed("u8", {
    and: truth((a, b) => a !== 0 && b !== 0),
    or: truth((a, b) => a !== 0 || b !== 0),
    xor: truth((a, b) => (a !== 0) !== (b !== 0)),
    equal: comparisons.equal,
  }),
  "f32-pow": { twin: pow, name: "within 2⁻²³ relative", bound: relative(1) },
  "f32-prelu": exact((a, b) => (a < 0 ? a * b : a)),
  "f32-silu-mul": absolute(24, (a, b) => (a / (1 + Math.exp(-a))) * b),
  "f32-gelu-mul": absolute(24, (a, b) => gelu(a) * b),
  "f32-gelu-tanh-mul": absolute(24, (a, b) => geluTanh(a) * b),
  "f32-add-gelu": absolute(24, (a, b) => gelu(Math.fround(a + b))),
  "f32-add-gelu-tanh": absolute(24, (a, b) => geluTanh(Math.fround(a + b))),
} as unknown as Readonly<Record<BinaryName, Case>>;

test("every kernel has a case", () => {
  expect(Object.keys(cases).sort()).toEqual(Object.keys(binaryKernels).sort());
});

function operandOf(name: string, count: number, seed: number) {
  const values = floats(count, -3, 3, seed);
  if (name.startsWith("u8")) return Uint8Array.from(values, (x) => (x < 0 ? 0 : x * 80));
  // Some equal pairs for the comparisons.
  const rounded = values.map((x, at) => (at % 3 === 0 ? Math.round(x) : x));
  return name.startsWith("f64") ? Float64Array.from(rounded, (x) => x * Math.PI) : rounded;
}

function outputOf(name: string, count: number) {
  if (name.includes("u8")) return new Uint8Array(count);
  return name.startsWith("f64") ? new Float64Array(count) : new Float32Array(count);
}

function check(name: BinaryName, shapeA: Shape, shapeB: Shape, values?: readonly number[]): void {
  const { twin, bound } = cases[name];
  const plan = planBinary(name, shapeA, shapeB);
  if (!plan) throw new Error("no plan");
  const a = operandOf(name, sizeOf(shapeA), 3);
  const b = operandOf(name, sizeOf(shapeB), 4);
  if (values) {
    for (let at = 0; at < a.length; at++) {
      a[at] = values[at % values.length];
      b[at] = values[Math.floor(at / values.length)];
    }
  }
  const output = outputOf(name, sizeOf(plan.shape));
  const misalign = name.startsWith("f64") ? 8 : 4;
  const kernel = binaryKernels[name];
  runSplit({ kernel, plan, arrays: { a, b, output }, outputs: ["output"], misalign });
  const fromA = sources(shapeA, plan.shape);
  const fromB = sources(shapeB, plan.shape);
  const expected = fromA.map((at, index) => twin(a[at], b[fromB[index]]));
  if (output instanceof Float64Array) expect([...output]).toEqual(expected);
  else expectClose(output, expected, bound);
}

describe.each(Object.keys(cases) as BinaryName[])("%s", (name) => {
  test(`${cases[name].name}, with every kind of broadcasting`, () => {
    for (const [a, b] of pairs) check(name, a, b);
  });
});

describe("edges of float32", () => {
  const count = edgeValues.length ** 2;
  const names = ["add", "sub", "mul", "div", "min", "max", "pow", "prelu"] as const;
  test.each(names)("f32-%s of every pair", (name) => {
    check(`f32-${name}`, [count], [count], edgeValues.map(Math.fround));
  });
  test.each(Object.keys(comparisons) as (keyof typeof comparisons)[])(
    "f32-u8-%s of every pair",
    (name) => check(`f32-u8-${name}`, [count], [count], edgeValues.map(Math.fround)),
  );
});

test("the output may be an operand", () => {
  const a = floats(2500);
  const b = floats(2500, -1, 1, 9);
  const expected = a.map((x, at) => x + b[at]);
  const plan = planBinary("f32-add", [2500], [2500]);
  if (!plan) throw new Error("no plan");
  runKernel({ kernel: binaryKernels["f32-add"], ...plan, arrays: { a, b, output: a } });
  expect(a).toEqual(expected);
});

describe("broadcasting plans", () => {
  test("shapes that do not fit, or need too many levels, give no plan", () => {
    expect(broadcastShape([[2, 3], [4]])).toBeUndefined();
    expect(planBinary("f32-add", [2, 3], [4])).toBeUndefined();
    const a = [2, 1, 2, 1, 2, 1, 2];
    const b = [1, 2, 1, 2, 1, 2, 1];
    expect(planBinary("f32-add", a, b)).toBeUndefined();
  });

  test("property: f32-sub agrees with the walk of all indices", () => {
    const dimension = fc.tuple(fc.integer({ min: 1, max: 6 }), fc.integer({ min: 0, max: 3 }));
    fc.assert(
      fc.property(fc.array(dimension, { maxLength: 5 }), fc.nat(2), (dimensions, dropped) => {
        const a = dimensions.map(([size, kind]) => (kind === 1 ? 1 : size));
        const b = dimensions.map(([size, kind]) => (kind === 2 ? 1 : size)).slice(dropped);
        check("f32-sub", a, b);
      }),
      { numRuns: 60 },
    );
  });
});

describe("where", () => {
  const shapes: readonly (readonly [Shape, Shape, Shape])[] = [
    [[], [], []],
    [[5000], [5000], [5000]],
    [[3, 1, 5], [], [2, 3, 4, 5]],
    [[4, 5], [2, 1, 1], [5]],
    [[1], [7], [7]],
  ];
  test.each([1, 4, 8] as ElementBytes[])("elements of %i bytes, exact", (bytes) => {
    const ofSize = { 1: Uint8Array, 4: Float32Array, 8: Float64Array }[bytes];
    const next = random(5);
    for (const [shapeC, shapeA, shapeB] of shapes) {
      const plan = planWhere(bytes, shapeC, shapeA, shapeB);
      if (!plan) throw new Error("no plan");
      const condition = Uint8Array.from({ length: sizeOf(shapeC) }, () => (next() < 0.5 ? 0 : 7));
      const a = new ofSize(sizeOf(shapeA)).map(() => next() * 200);
      const b = new ofSize(sizeOf(shapeB)).map(() => next() * 200);
      const output = new ofSize(sizeOf(plan.shape));
      runSplit({
        kernel: whereKernels[bytes],
        plan,
        arrays: { condition, a, b, output },
        outputs: ["output"],
        misalign: 8,
      });
      const [fromC, fromA, fromB] = [shapeC, shapeA, shapeB].map((one) => sources(one, plan.shape));
      const expected = fromC.map((at, k) => (condition[at] ? a[fromA[k]] : b[fromB[k]]));
      expect([...output]).toEqual(expected);
    }
  });
});
