/**
 * Functions of one float32 element. One loop, a table of what it computes; the output may be the input.
 * What a function means is the ONNX operator's definition; two parameters are fields of every kernel, and a function
 * that has none ignores them.
 */
import {
  type FunctionBuilder,
  f32x4,
  i32,
  type Local,
  type V128,
  v128,
} from "../assembler/index.ts";
import { defineKernel, type FieldValues, type Kernel, type KernelCode } from "../kernel.ts";
import { constant, forElements, integerConstant, smaller, x32 } from "./elements.ts";
import {
  prepareErf,
  prepareExp,
  prepareLog,
  prepareLogOnePlus,
  prepareSigmoid,
  prepareTanh,
  type VectorFunction,
} from "./math.ts";
import { preparePow } from "./math-pow.ts";
import { prepareCos, prepareSin } from "./math-trigonometric.ts";

/** Addresses in bytes, `count` in elements; `alpha` and `beta` mean what the table of functions says. */
export const unaryFields = {
  input: "i32",
  output: "i32",
  count: "i32",
  alpha: "f32",
  beta: "f32",
} as const;

/** Elements of one item. */
export const unaryItemElements = 1024;

interface Parameters {
  readonly alpha: Local<"v128">;
  readonly beta: Local<"v128">;
}
type PrepareFunction = (code: FunctionBuilder, parameters: Parameters) => VectorFunction;

const plain =
  (compute: VectorFunction): PrepareFunction =>
  () =>
    compute;

/** x / (1 + e^-t(x)): x times a sigmoid with one division. */
const gated =
  (prepareArgument: PrepareFunction): PrepareFunction =>
  (code, parameters) => {
    const argument = prepareArgument(code, parameters);
    const exp = prepareExp(code);
    const one = constant(code, 1);
    const given = code.local("v128");
    return (x) => {
      given.set(x);
      return f32x4.div(given, f32x4.add(one, exp(f32x4.neg(argument(given)))));
    };
  };

/** x·σ(x). */
export const prepareSilu = (code: FunctionBuilder): VectorFunction => {
  const zero = constant(code, 0);
  return gated(plain((x) => x))(code, { alpha: zero, beta: zero });
};

/** x/2 · (1 + erf(x/√2)). */
export const prepareGelu = (code: FunctionBuilder): VectorFunction => {
  const erf = prepareErf(code);
  const one = constant(code, 1);
  const half = constant(code, 0.5);
  const scale = constant(code, Math.SQRT1_2);
  const given = code.local("v128");
  return (x) => {
    given.set(x);
    const sum = f32x4.add(one, erf(f32x4.mul(given, scale)));
    return f32x4.mul(f32x4.mul(given, half), sum);
  };
};

/** x/2 · (1 + tanh(√(2/π)·(x + 0.044715·x³))), computed as x·σ of twice the argument: no cancellation. */
export const prepareGeluTanh = (code: FunctionBuilder): VectorFunction => {
  const first = constant(code, 2 * Math.sqrt(2 / Math.PI));
  const third = constant(code, 2 * Math.sqrt(2 / Math.PI) * 0.044715);
  const argument: VectorFunction = (x) =>
    f32x4.mul(x, f32x4.add(first, f32x4.mul(third, f32x4.mul(x, x))));
  return gated(() => argument)(code, { alpha: first, beta: first });
};

const hardSigmoid = (code: FunctionBuilder, alpha: V128, beta: V128): VectorFunction => {
  const one = constant(code, 1);
  const zero = constant(code, 0);
  return (x) => f32x4.pmin(f32x4.pmax(f32x4.add(f32x4.mul(x, alpha), beta), zero), one);
};

/** The functions, by the names of their kernels. */
const functions = {
  /** max(x, 0) */
  relu: plain((x) => f32x4.pmax(x, v128.zero())),
  sigmoid: prepareSigmoid,
  tanh: prepareTanh,
  erf: prepareErf,
  exp: prepareExp,
  /** ln x */
  log: prepareLog,
  sqrt: plain(f32x4.sqrt),
  /** 1 / x */
  reciprocal: (code) => {
    const one = constant(code, 1);
    return (x) => f32x4.div(one, x);
  },
  /** 1 / √x */
  "reciprocal-sqrt": (code) => {
    const one = constant(code, 1);
    return (x) => f32x4.div(one, f32x4.sqrt(x));
  },
  neg: plain(f32x4.neg),
  abs: plain(f32x4.abs),
  floor: plain(f32x4.floor),
  ceil: plain(f32x4.ceil),
  /** To the nearest integer, halves to the even one. */
  round: plain(f32x4.nearest),
  /** Towards zero; what a cast of a float to an integer does. */
  truncate: plain(f32x4.trunc),
  sin: prepareSin,
  cos: prepareCos,
  /** −1, 0 or 1; NaN stays. */
  sign: (code) => {
    const one = constant(code, 1);
    const signBit = integerConstant(code, 0x80000000);
    const given = code.local("v128");
    return (x) => {
      given.set(x);
      const unit = v128.or(one, v128.and(given, signBit));
      const isSigned = f32x4.gt(f32x4.abs(given), v128.zero());
      return v128.bitselect(unit, given, isSigned);
    };
  },
  /** x · σ(x) */
  silu: prepareSilu,
  /** x/2 · (1 + erf(x/√2)) */
  gelu: prepareGelu,
  /** The tanh form of GELU: FastGelu, Gelu with approximate = tanh. */
  "gelu-tanh": prepareGeluTanh,
  /** x · σ(alpha·x) */
  "quick-gelu": gated(
    (_, { alpha }) =>
      (x) =>
        f32x4.mul(x, alpha),
  ),
  /** ln(1 + eˣ) = max(x, 0) + ln(1 + e^−|x|) */
  softplus: (code) => {
    const exp = prepareExp(code);
    const log = prepareLogOnePlus(code);
    const given = code.local("v128");
    return (x) => {
      given.set(x);
      const rest = log(exp(f32x4.neg(f32x4.abs(given))));
      return f32x4.add(f32x4.pmax(given, v128.zero()), rest);
    };
  },
  /** x ≥ 0: x; else alpha·(eˣ − 1) */
  elu: (code, { alpha }) => {
    const exp = prepareExp(code);
    const one = constant(code, 1);
    const given = code.local("v128");
    return (x) => {
      given.set(x);
      const below = f32x4.mul(alpha, f32x4.sub(exp(given), one));
      return v128.bitselect(below, given, f32x4.lt(given, v128.zero()));
    };
  },
  /** x ≥ 0: x; else alpha·x */
  "leaky-relu": (code, { alpha }) => {
    const given = code.local("v128");
    return (x) => {
      given.set(x);
      return v128.bitselect(f32x4.mul(given, alpha), given, f32x4.lt(given, v128.zero()));
    };
  },
  /** max(0, min(1, alpha·x + beta)) */
  "hard-sigmoid": (code, { alpha, beta }) => hardSigmoid(code, alpha, beta),
  /** x · max(0, min(1, x/6 + 1/2)) */
  "hard-swish": (code) => {
    const gate = hardSigmoid(code, constant(code, 1 / 6), constant(code, 0.5));
    const given = code.local("v128");
    return (x) => {
      given.set(x);
      return f32x4.mul(given, gate(given));
    };
  },
  /** max(alpha, min(beta, x)); beta wins where alpha > beta. */
  clip:
    (_, { alpha, beta }) =>
    (x) =>
      f32x4.pmin(f32x4.pmax(x, alpha), beta),
  square: (code) => {
    const given = code.local("v128");
    return (x) => {
      given.set(x);
      return f32x4.mul(given, given);
    };
  },
  cube: (code) => {
    const given = code.local("v128");
    return (x) => {
      given.set(x);
      return f32x4.mul(f32x4.mul(given, given), given);
    };
  },
  /** x to the power alpha */
  "pow-constant": (code, { alpha }) => {
    const pow = preparePow(code);
    return (x) => pow(x, alpha);
  },
  /** alpha·x + beta */
  affine:
    (_, { alpha, beta }) =>
    (x) =>
      f32x4.add(f32x4.mul(x, alpha), beta),
} satisfies Readonly<Record<string, PrepareFunction>>;

export type UnaryName = keyof typeof functions;
export type UnaryKernel = Kernel<typeof unaryFields>;

function unaryKernel(name: string, prepare: PrepareFunction): UnaryKernel {
  return defineKernel({
    name: `f32-${name}-simd128`,
    isa: "simd128",
    fields: unaryFields,
    item: "1024 elements",
    build: (code) => buildUnary(code, prepare),
  });
}

function buildUnary(code: KernelCode<typeof unaryFields>, prepare: PrepareFunction): void {
  const { input, output, count, alpha, beta } = code.fields;
  const compute = prepare(code, {
    alpha: code.local("v128", f32x4.splat(alpha)),
    beta: code.local("v128", f32x4.splat(beta)),
  });
  const elements = i32.const(unaryItemElements);
  const from = code.local("i32", i32.mul(code.begin, elements));
  const to = smaller(code, i32.mul(code.end, elements), count);
  const offset = code.local("i32", i32.mul(from, i32.const(4)));
  code.advance(input, offset);
  code.advance(output, offset);
  const pointers = [input, output].map((pointer) => ({ pointer, bytes: 4 }));
  forElements(code, i32.sub(to, from), x32.lanes, pointers, (isWhole) => {
    if (isWhole) code.do(x32.store(output, compute(x32.load(input))));
    else code.do(x32.storeOne(output, compute(x32.splat(input))));
  });
}

/** Every kernel of one float32 element, by name. `output` may be `input`. */
export const unaryKernels = Object.fromEntries(
  Object.entries(functions).map(([name, prepare]) => [name, unaryKernel(name, prepare)]),
) as Readonly<Record<UnaryName, UnaryKernel>>;

export interface UnaryPlan {
  readonly items: number;
  readonly values: Omit<FieldValues<typeof unaryFields>, "input" | "output">;
}

/** The items and fields for `count` elements. */
export function planUnary(
  count: number,
  parameters: { readonly alpha?: number; readonly beta?: number } = {},
): UnaryPlan {
  const { alpha = 0, beta = 0 } = parameters;
  return { items: Math.ceil(count / unaryItemElements), values: { count, alpha, beta } };
}

/** The kernel for x to a constant power; "pow-constant", whose alpha is the exponent, where no fast one exists. */
export function unaryForPower(exponent: number): UnaryName {
  switch (exponent) {
    case 2:
      return "square";
    case 3:
      return "cube";
    case 0.5:
      return "sqrt";
    case -0.5:
      return "reciprocal-sqrt";
    case -1:
      return "reciprocal";
    default:
      return "pow-constant";
  }
}
