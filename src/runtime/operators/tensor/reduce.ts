/**
 * ReduceSum, ReduceMean, ReduceMax …: axes are an attribute in old opsets, an input in new ones.
 * Invariant: without axes everything is reduced, or nothing where the node says so.
 */
import {
  broadcastStrides,
  contiguousStrides,
  planReduce,
  type ReduceName,
  reduceKernels,
  reductionExtent,
} from "../../../../native/index.ts";
import type {
  CompileContext,
  CompiledStep,
  InferInput,
  Operator,
  OperatorNode,
  TensorType,
} from "../../session/operator.ts";
import { type HostTensor, isFloat } from "../../session/storage.ts";
import { axesOf, axisOf, intAttribute, required } from "./attributes.ts";

interface Fold {
  readonly start: number;
  readonly add: (total: number, x: number) => number;
  readonly finish?: (total: number, count: number) => number;
}

const square: Fold = { start: 0, add: (total, x) => total + x * x };
const plus: Fold = { start: 0, add: (total, x) => total + x };

const folds = {
  sum: plus,
  mean: { ...plus, finish: (total, count) => total / count },
  prod: { start: 1, add: (total, x) => total * x },
  "sum-square": square,
  l1: { start: 0, add: (total, x) => total + Math.abs(x) },
  l2: { ...square, finish: Math.sqrt },
  max: { start: Number.NEGATIVE_INFINITY, add: Math.max },
  min: { start: Number.POSITIVE_INFINITY, add: Math.min },
} satisfies Readonly<Record<ReduceName, Fold>>;

/** ln(e^total + e^x), without the powers themselves, which overflow. */
function addLogarithms(total: number, x: number): number {
  const largest = Math.max(total, x);
  if (!Number.isFinite(largest)) return largest;
  return largest + Math.log1p(Math.exp(Math.min(total, x) - largest));
}

const logSum: Fold = { ...plus, finish: Math.log };
const logSumExp: Fold = { start: Number.NEGATIVE_INFINITY, add: addLogarithms };

/** Reduced axes, counted from the front; "none" for a node that passes its input on. */
function reducedAxes(
  node: OperatorNode,
  inputs: readonly (InferInput | undefined)[],
): readonly number[] | "none" {
  const rank = required(inputs, 0).shape.length;
  const axes = axesOf(node, inputs, 1) ?? [];
  if (axes.length > 0) return axes.map((axis) => axisOf(axis, rank));
  if (intAttribute(node, "noop_with_empty_axes", 0) !== 0) return "none";
  return Array.from({ length: rank }, (_, axis) => axis);
}

/** Sizes with 1 for reduced axes; from the output, whose kept axes are the input's in order. */
function keptShape(input: readonly number[], axes: readonly number[] | "none"): readonly number[] {
  return axes === "none" ? input : input.map((size, axis) => (axes.includes(axis) ? 1 : size));
}

function computeFold(
  { start, add, finish }: Fold,
  input: HostTensor,
  output: HostTensor,
  axes: readonly number[] | "none",
): void {
  const { shape, data } = input;
  const kept = keptShape(shape, axes);
  const strides = broadcastStrides(kept, shape);
  const totals = new Float64Array(output.data.length).fill(start);
  const index = shape.map(() => 0);
  let at = 0;
  for (let i = 0; i < data.length; i++) {
    totals[at] = add(totals[at], data[i]);
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      at += strides[axis];
      if (++index[axis] < shape[axis]) break;
      index[axis] = 0;
      at -= shape[axis] * strides[axis];
    }
  }
  const count = axes === "none" ? 1 : axes.reduce((total, axis) => total * shape[axis], 1);
  for (let i = 0; i < totals.length; i++) {
    output.data[i] = finish ? finish(totals[i], count) : totals[i];
  }
}

const known = (inputs: readonly (HostTensor | undefined)[]): (InferInput | undefined)[] =>
  inputs.map((input) => input && { ...input, known: input });

/** The axes as a constant that `bind` can use, or undefined when the graph computes them. */
async function constantAxes(
  node: OperatorNode,
  constant: (input: number) => Promise<HostTensor | undefined>,
): Promise<((input: TensorType) => readonly number[] | "none") | undefined> {
  const isGiven = (node.inputs[1] ?? "") !== "";
  const axes = isGiven ? await constant(1) : undefined;
  if (isGiven && !axes) return undefined;
  return (input) =>
    reducedAxes(node, [{ ...input, known: undefined }, axes && { ...axes, known: axes }]);
}

/** @param kernel - the fast form; without one the operator runs in JavaScript. */
function reduction(fold: Fold, kernel?: ReduceName): Operator {
  return {
    infer(node, inputs) {
      const { dtype, shape } = required(inputs, 0);
      const axes = reducedAxes(node, inputs);
      const keeps = axes === "none" || intAttribute(node, "keepdims", 1) !== 0;
      const result = keeps
        ? keptShape(shape, axes)
        : shape.filter((_, axis) => !axes.includes(axis));
      return [{ dtype, shape: result }];
    },
    compute(node, inputs, outputs) {
      const axes = reducedAxes(node, known(inputs));
      computeFold(fold, required(inputs, 0), required(outputs, 0), axes);
    },
    ...(kernel && { compile: (node, context) => compileReduction(kernel, node, context) }),
  };
}

async function compileReduction(
  kernel: ReduceName,
  node: OperatorNode,
  context: CompileContext,
): Promise<CompiledStep | undefined> {
  const axesFor = await constantAxes(node, (input) => context.constant(input));
  if (!axesFor) return undefined;
  const task = context.task(reduceKernels[kernel]);
  const extentOf = (input: TensorType) => {
    const axes = axesFor(input);
    // An empty list means all axes to the kernel's planner; a scalar has nothing to reduce.
    if (axes === "none" || input.shape.length === 0) return undefined;
    return reductionExtent(input.shape, axes);
  };
  return {
    packed: [1],
    fits: ([input]) =>
      isFloat(input?.dtype) && input !== undefined && extentOf(input) !== undefined,
    bind(inputs, outputs) {
      const input = required(inputs, 0);
      const extent = extentOf(input);
      if (!extent) return;
      const { items, values } = planReduce(extent);
      const output = required(outputs, 0).pointer;
      task.set({ ...values, input: input.pointer, output }, items, input.elements);
    },
    run: () => task.run(),
  };
}

const withKernel = (name: ReduceName): Operator => reduction(folds[name], name);

export const reductions: Readonly<Record<string, Operator>> = {
  ReduceSum: withKernel("sum"),
  ReduceMean: withKernel("mean"),
  ReduceProd: withKernel("prod"),
  ReduceSumSquare: withKernel("sum-square"),
  ReduceL1: withKernel("l1"),
  ReduceL2: withKernel("l2"),
  ReduceMax: withKernel("max"),
  ReduceMin: withKernel("min"),
  ReduceLogSum: reduction(logSum),
  ReduceLogSumExp: reduction(logSumExp),
};

/** [outer, size, inner] around one axis. */
export function aroundAxis(shape: readonly number[], axis: number) {
  const inner = contiguousStrides(shape)[axis] ?? 1;
  const size = shape[axis] ?? 1;
  const outer = shape.slice(0, axis).reduce((total, one) => total * one, 1);
  return { outer, size, inner };
}
