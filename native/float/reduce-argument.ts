/**
 * Where the largest or smallest element of an axis is: ArgMax and ArgMin over [outer, reduced, inner].
 */
import { type F32, f32, f32x4, f64, i32, type V128, v128 } from "../assembler/index.ts";
import { defineKernel, type FieldValues, type Kernel, type KernelCode } from "../kernel.ts";
import { constant, forElements } from "./elements.ts";
import type { ReductionExtent } from "./reduce.ts";

/** Addresses in bytes; output float64 [outer, inner], as the runtime keeps int64. `last`: 1 takes the last of equals. */
export const argumentFields = {
  input: "i32",
  output: "i32",
  reduced: "i32",
  inner: "i32",
  last: "i32",
} as const;

export type ArgumentKernel = Kernel<typeof argumentFields>;
export type ArgumentName = "arg-max" | "arg-min";

interface Extreme {
  readonly vector: (a: V128, b: V128) => V128;
  readonly scalar: (a: F32, b: F32) => F32;
  readonly neutral: number;
}

function argumentKernel(name: ArgumentName, extreme: Extreme): ArgumentKernel {
  return defineKernel({
    name: `f32-f64-${name}-simd128`,
    isa: "simd128",
    fields: argumentFields,
    item: "element of the output",
    build: (code) => buildArgument(code, extreme),
  });
}

/** Finds the extreme first (fast over a row), then the place that holds it. */
function buildArgument(code: KernelCode<typeof argumentFields>, extreme: Extreme): void {
  const { input, output, reduced, inner, last } = code.fields;
  const stride = code.local("i32", i32.mul(inner, i32.const(4)));
  const [outer, from, at, left, index] = code.locals(5, "i32");
  const neutral = constant(code, extreme.neutral);
  const lanes = code.local("v128");
  const best = code.local("f32");
  code.for(code.begin, code.end, 1, (item) => {
    outer.set(i32.div_u(item, inner));
    const column = i32.sub(item, i32.mul(outer, inner));
    from.set(i32.add(i32.mul(i32.mul(outer, reduced), inner), column));
    from.set(i32.add(input, i32.mul(from, i32.const(4))));
    at.set(from);
    lanes.set(neutral);
    code.if(
      i32.eq(inner, i32.const(1)),
      () =>
        forElements(code, reduced, 4, [{ pointer: at, bytes: 4 }], (isWhole) => {
          lanes.set(extreme.vector(lanes, isWhole ? v128.load(at) : v128.load32_splat(at)));
        }),
      () => {
        left.set(reduced);
        code.while(i32.gt_s(left, i32.const(0)), () => {
          lanes.set(extreme.vector(lanes, v128.load32_splat(at)));
          code.advance(at, stride);
          code.advance(left, -1);
        });
      },
    );
    const lane = (k: number) => f32x4.extract_lane(lanes, k);
    best.set(extreme.scalar(extreme.scalar(lane(0), lane(1)), extreme.scalar(lane(2), lane(3))));

    const lastIndex = i32.sub(reduced, i32.const(1));
    index.set(i32.const(0));
    at.set(from);
    code.if(last, () => {
      index.set(lastIndex);
      at.set(i32.add(from, i32.mul(lastIndex, stride)));
    });
    const step = i32.sub(i32.const(1), i32.mul(last, i32.const(2)));
    const isInside = i32.lt_u(index, reduced);
    // The load stands behind the bounds test: select would do both.
    const isOther = code.local("i32");
    const look = () => {
      isOther.set(i32.const(0));
      code.if(isInside, () => isOther.set(f32.ne(f32.load(at), best)));
    };
    look();
    code.while(isOther, () => {
      code.advance(index, step);
      code.advance(at, i32.mul(step, stride));
      look();
    });
    // Nothing but NaN: no element was found, the index has left the axis.
    code.if(i32.eqz(isInside), () => index.set(i32.const(0)));
    const to = i32.add(output, i32.mul(item, i32.const(8)));
    code.do(f64.store(to, f64.convert_i32_s(index)));
  });
}

/** Numerics: NaN is passed over; an axis of NaN alone gives 0. Nothing to reduce is the caller's error. */
export const argumentKernels: Readonly<Record<ArgumentName, ArgumentKernel>> = {
  "arg-max": argumentKernel("arg-max", {
    vector: f32x4.pmax,
    scalar: f32.max,
    neutral: Number.NEGATIVE_INFINITY,
  }),
  "arg-min": argumentKernel("arg-min", {
    vector: f32x4.pmin,
    scalar: f32.min,
    neutral: Number.POSITIVE_INFINITY,
  }),
};

export interface ArgumentPlan {
  readonly items: number;
  readonly values: Omit<FieldValues<typeof argumentFields>, "input" | "output">;
}

export function planArgument(extent: ReductionExtent, selectLast = false): ArgumentPlan {
  const { outer, reduced, inner } = extent;
  return { items: outer * inner, values: { reduced, inner, last: selectLast ? 1 : 0 } };
}
