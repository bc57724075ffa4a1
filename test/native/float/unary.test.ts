import { describe, expect, test } from "vitest";
import {
  planUnary,
  type UnaryName,
  unaryForPower,
  unaryKernels,
} from "../../../native/float/unary.ts";
import { runKernel } from "../harness.ts";
import { edgeValues, expectClose, floats, relative, runSplit, ulp } from "./float-cases.ts";

/** erf by its series, and by the continued fraction of erfc where the series cancels. */
function erf(x: number): number {
  const size = Math.abs(x);
  if (Number.isNaN(x)) return x;
  if (size > 6) return Math.sign(x);
  if (size < 2.5) {
    let term = x;
    let sum = x;
    for (let n = 1; n < 80; n++) {
      term *= -(x * x) / n;
      sum += term / (2 * n + 1);
    }
    return (2 / Math.sqrt(Math.PI)) * sum;
  }
  let fraction = 0;
  for (let k = 80; k > 0; k--) fraction = k / 2 / (size + fraction);
  const erfc = Math.exp(-size * size) / Math.sqrt(Math.PI) / (size + fraction);
  return Math.sign(x) * (1 - erfc);
}

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
const roundHalfEven = (x: number) => {
  const floor = Math.floor(x);
  const rest = x - floor;
  if (rest !== 0.5) return Math.round(x);
  return floor % 2 === 0 ? floor : floor + 1;
};
const clamp = (x: number, low: number, high: number) =>
  Number.isNaN(x) ? x : Math.min(Math.max(x, low), high);
const keepNaN = (x: number, y: number) => (Number.isNaN(x) ? x : y);

const alpha = Math.fround(0.3);
const beta = Math.fround(0.7);
const powExponent = Math.fround(0.3);

interface Case {
  readonly twin: (x: number) => number;
  readonly name: string;
  readonly bound: (expected: number, x: number) => number;
  /** Values to which the bound applies; edge values outside are left out. */
  readonly range?: readonly [number, number];
}
const exact = (twin: Case["twin"], range?: Case["range"]): Case => ({
  twin,
  name: "exact",
  bound: relative(0.5),
  ...(range && { range }),
});
const within = (units: number, twin: Case["twin"], range?: Case["range"]): Case => ({
  twin,
  name: `within ${units} · 2⁻²³ relative`,
  bound: relative(units),
  ...(range && { range }),
});
const scaled = (units: number, twin: Case["twin"], range?: Case["range"]): Case => ({
  twin,
  name: `within ${units} · 2⁻²³ · max(|x|, |result|)`,
  bound: (expected, x) => units * ulp * Math.max(Math.abs(expected), Math.abs(x)),
  ...(range && { range }),
});

const finite: readonly [number, number] = [-3.4e38, 3.4e38];
const geluTanh = (x: number) =>
  0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));

const cases: Readonly<Record<UnaryName, Case>> = {
  relu: exact((x) => keepNaN(x, Math.max(x, 0))),
  sigmoid: within(4, sigmoid, [-87, Number.POSITIVE_INFINITY]),
  tanh: within(4, Math.tanh),
  erf: within(4, erf),
  exp: within(2, Math.exp),
  log: within(2, Math.log),
  sqrt: exact(Math.sqrt),
  reciprocal: exact((x) => 1 / x),
  "reciprocal-sqrt": within(1.5, (x) => 1 / Math.sqrt(x)),
  neg: exact((x) => -x),
  abs: exact(Math.abs),
  floor: exact(Math.floor),
  ceil: exact(Math.ceil),
  round: exact(roundHalfEven, finite),
  truncate: exact(Math.trunc),
  sin: within(2, Math.sin, [-1.6e6, 1.6e6]),
  cos: within(2, Math.cos, [-1.6e6, 1.6e6]),
  sign: exact(Math.sign),
  silu: within(5, (x) => x * sigmoid(x), [-87, 3e38]),
  gelu: scaled(4, (x) => 0.5 * x * (1 + erf(x * Math.SQRT1_2)), finite),
  "gelu-tanh": scaled(4, geluTanh, [-1e5, 1e5]),
  "quick-gelu": scaled(4, (x) => x * sigmoid(alpha * x), finite),
  softplus: within(5, (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)))),
  elu: {
    twin: (x) => (x < 0 ? alpha * Math.expm1(x) : x),
    name: "within 2 · 2⁻²³ · (alpha + |result|)",
    bound: (expected) => 2 * ulp * (alpha + Math.abs(expected)),
  },
  "leaky-relu": exact((x) => (x < 0 ? alpha * x : x)),
  "hard-sigmoid": {
    twin: (x) => clamp(alpha * x + beta, 0, 1),
    name: "within 2⁻²³",
    bound: () => ulp,
  },
  "hard-swish": scaled(2, (x) => x * clamp(x / 6 + 0.5, 0, 1), [-1e30, 1e30]),
  clip: exact((x) => clamp(x, alpha, beta)),
  square: exact((x) => x * x),
  cube: within(1.5, (x) => x ** 3, [-1e12, 1e12]),
  "pow-constant": within(1, (x) => x ** powExponent),
  affine: {
    twin: (x) => alpha * x + beta,
    name: "within 2⁻²³ · (|alpha·x| + |beta|)",
    bound: (_, x) => ulp * (Math.abs(alpha * x) + beta),
  },
};

const parametersOf = (name: UnaryName) => ({
  alpha: name === "pow-constant" ? powExponent : alpha,
  beta,
});

describe.each(Object.keys(cases) as UnaryName[])("%s", (name) => {
  const { twin, name: boundName, bound, range } = cases[name];
  const kernel = unaryKernels[name];
  const isInside = (x: number) => Number.isNaN(x) || !range || (x >= range[0] && x <= range[1]);
  const run = (input: Float32Array) => {
    const output = new Float32Array(input.length);
    const plan = planUnary(input.length, parametersOf(name));
    runSplit({ kernel, plan, arrays: { input, output }, outputs: ["output"] });
    return output;
  };
  const check = (given: Float32Array) => {
    const input = given.filter(isInside);
    expectClose(run(input), Float64Array.from(input, twin), (expected, at) =>
      bound(expected, input[at]),
    );
  };

  test(`${boundName}, over values of every size`, () => {
    check(Float32Array.from(edgeValues));
    check(floats(4000, -1, 1));
    check(floats(4000, -12, 12));
    check(floats(4000, -110, 95));
    const bits = Uint32Array.from({ length: 8000 }, (_, at) => Math.imul(at, 0x9e3779b1));
    check(new Float32Array(bits.buffer));
  });

  test("every length, in place", () => {
    for (const length of [0, 1, 3, 6, 1023, 2053]) {
      const input = floats(length, 0.1, 5);
      const output = run(input);
      const plan = planUnary(length, parametersOf(name));
      runKernel({ kernel, ...plan, arrays: { input, output: input } });
      expect(input).toEqual(output);
    }
  });
});

test("large angles: sin and cos within 1.2e-7 absolute up to 1e9", () => {
  const input = floats(2000, -1e9, 1e9);
  for (const name of ["sin", "cos"] as const) {
    const output = new Float32Array(input.length);
    const plan = planUnary(input.length);
    runSplit({ kernel: unaryKernels[name], plan, arrays: { input, output }, outputs: ["output"] });
    expectClose(output, Float64Array.from(input, Math[name]), () => 1.2e-7);
  }
});

test("powers have the kernel that is exact for them", () => {
  expect([2, 3, 0.5, -0.5, -1, 1.7].map(unaryForPower)).toEqual([
    "square",
    "cube",
    "sqrt",
    "reciprocal-sqrt",
    "reciprocal",
    "pow-constant",
  ]);
});
