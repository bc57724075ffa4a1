/**
 * condition ? a : b with numpy's broadcasting; `condition` has bytes, `a` and `b` any elements of 1, 4 or 8 bytes.
 * Not a fast path: conditions are masks and small; it goes element by element and moves values without looking at them.
 */
import { type I32, i32, i64, type Statement, select } from "../assembler/index.ts";
import { defineKernel, type FieldValues, type Kernel, type KernelCode } from "../kernel.ts";
import { planOperands } from "./broadcast.ts";
import { levelFields, walkLevels } from "./levels.ts";

/** As `binaryFields`, with three operands. */
export const whereFields = {
  condition: "i32",
  a: "i32",
  b: "i32",
  output: "i32",
  conditionStep: "i32",
  aStep: "i32",
  bStep: "i32",
  ...levelFields(["condition", "a", "b", "output"]),
} as const;

export type ElementBytes = 1 | 4 | 8;
export type WhereKernel = Kernel<typeof whereFields>;

/** Copies one element of the size. */
export function copyElement(bytes: ElementBytes, to: I32, from: I32): Statement {
  if (bytes === 1) return i32.store8(to, i32.load8_u(from));
  return bytes === 4 ? i32.store(to, i32.load(from)) : i64.store(to, i64.load(from));
}

function whereKernel(bytes: ElementBytes): WhereKernel {
  return defineKernel({
    name: `x${8 * bytes}-where-simd128`,
    isa: "simd128",
    fields: whereFields,
    item: "piece of a run",
    build: (code) => buildWhere(code, bytes),
  });
}

function buildWhere(code: KernelCode<typeof whereFields>, bytes: ElementBytes): void {
  const { fields } = code;
  const [condition, a, b, to, left] = code.locals(5, "i32");
  const stepA = code.local("i32", i32.mul(fields.aStep, i32.const(bytes)));
  const stepB = code.local("i32", i32.mul(fields.bStep, i32.const(bytes)));
  const { condition: conditions, a: first, b: second, output } = fields;
  const starts = { condition: conditions, a: first, b: second, output };
  walkLevels<"condition" | "a" | "b" | "output">(code, fields, starts, (count) => {
    condition.set(conditions);
    a.set(first);
    b.set(second);
    to.set(output);
    left.set(count);
    code.while(i32.gt_s(left, i32.const(0)), () => {
      code.do(copyElement(bytes, to, select(a, b, i32.load8_u(condition))));
      code.advance(condition, fields.conditionStep);
      code.advance(a, stepA);
      code.advance(b, stepB);
      code.advance(to, bytes);
      code.advance(left, -1);
    });
  });
}

/** By the bytes of an element. */
export const whereKernels: Readonly<Record<ElementBytes, WhereKernel>> = {
  1: whereKernel(1),
  4: whereKernel(4),
  8: whereKernel(8),
};

export interface WherePlan {
  readonly shape: readonly number[];
  readonly items: number;
  readonly values: Omit<FieldValues<typeof whereFields>, "condition" | "a" | "b" | "output">;
}

/** @returns undefined if the shapes do not fit, or need more than six levels after merging. */
export function planWhere(
  bytes: ElementBytes,
  condition: readonly number[],
  a: readonly number[],
  b: readonly number[],
): WherePlan | undefined {
  const operands = {
    condition: { shape: condition, bytes: 1 },
    a: { shape: a, bytes },
    b: { shape: b, bytes },
  };
  return planOperands(operands, bytes);
}
