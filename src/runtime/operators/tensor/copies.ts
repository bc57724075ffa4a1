/**
 * Operators that only move elements: Transpose, Slice, Concat, Split, Expand … Each says which blocks go where; this
 * file turns that into the JavaScript form and into tasks of the copy kernels.
 * Invariant: blocks of one operator cover its outputs once, or the operator fills them first.
 */
import {
  type CopyPlan,
  contiguousStrides,
  copyKernels,
  type ElementBytes,
  planCopy,
  transposeKernel,
  type Walk,
} from "../../../../native/index.ts";
import { elementCount } from "../../../core/tensor.ts";
import type {
  CompileContext,
  CompiledStep,
  InferInput,
  Operand,
  Operator,
  OperatorNode,
  TensorType,
} from "../../session/operator.ts";
import { elementBytes, type NumberArray } from "../../session/storage.ts";

/** As `input` of a block: one element of zero. */
export const zeroInput = -1;

/** A block of elements that goes from one tensor to another. */
export interface Copy {
  /** Index of the input, or `zeroInput`. */
  readonly input: number;
  readonly output: number;
  readonly shape: readonly number[];
  readonly from: Walk;
  /** Default: the output as a whole, in order. */
  readonly to?: Walk;
}

/** A tensor whose type is known, and when it is bound also where it lies. */
export type Placed = TensorType & Partial<Pick<Operand, "pointer" | "room">>;

/** Reads the integers of an input; only those that `numbers` names. */
export type ReadNumbers = (input: number) => readonly number[] | undefined;

export interface CopyOperator {
  infer(
    node: OperatorNode,
    inputs: readonly (InferInput | undefined)[],
  ): readonly (TensorType | undefined)[];
  /** How many blocks there are at most. */
  count(node: OperatorNode): number;
  copies(
    node: OperatorNode,
    inputs: readonly (Placed | undefined)[],
    outputs: readonly (Placed | undefined)[],
    read: ReadNumbers,
  ): readonly Copy[];
  readonly appends?: Operator["appends"];
  /** Some block comes from `zeroInput`. */
  readonly usesZero?: boolean;
  /** Inputs whose contents decide where blocks lie. */
  readonly numbers?: readonly number[];
}

/** Moves one block, element by element. */
export function copyElements(
  shape: readonly number[],
  source: NumberArray,
  from: Walk,
  target: NumberArray,
  to: Walk = { strides: contiguousStrides(shape) },
): void {
  const rank = shape.length;
  const inner = rank === 0 ? 1 : shape[rank - 1];
  const stepFrom = rank === 0 ? 0 : from.strides[rank - 1];
  const stepTo = rank === 0 ? 0 : to.strides[rank - 1];
  const runs = inner === 0 ? 0 : elementCount(shape) / inner;
  const index = new Array<number>(rank).fill(0);
  let read = from.offset ?? 0;
  let write = to.offset ?? 0;
  for (let run = 0; run < runs; run++) {
    for (let i = 0; i < inner; i++) target[write + i * stepTo] = source[read + i * stepFrom];
    for (let axis = rank - 2; axis >= 0; axis--) {
      read += from.strides[axis];
      write += to.strides[axis];
      if (++index[axis] < shape[axis]) break;
      index[axis] = 0;
      read -= shape[axis] * from.strides[axis];
      write -= shape[axis] * to.strides[axis];
    }
  }
}

/** The element's bytes, if the copy kernels know them. */
export function copyBytes(type: TensorType): ElementBytes | undefined {
  const bytes = elementBytes(type.dtype);
  return bytes === 1 || bytes === 4 || bytes === 8 ? bytes : undefined;
}

/** A slot for any copy: the kernels that it may need. */
export interface CopySlot {
  set(plan: CopyPlan, bytes: ElementBytes, from: number, to: number): void;
  run(): void;
}

/** Tasks for one block of any element size. */
export function copySlot(context: CompileContext): CopySlot {
  const tasks = {
    1: context.task(copyKernels[1]),
    4: context.task(copyKernels[4]),
    8: context.task(copyKernels[8]),
  };
  const transpose = context.task(transposeKernel);
  let current: { run(): void } = transpose;
  return {
    set({ values, items, inputOffset, outputOffset }, bytes, from, to) {
      const input = from + inputOffset;
      const output = to + outputOffset;
      if ("rows" in values) {
        current = transpose;
        transpose.set({ ...values, input, output }, items, items * values.rows * 16);
      } else {
        current = tasks[bytes];
        tasks[bytes].set({ ...values, input, output }, items, items * Math.max(values.piece, 1));
      }
    },
    run: () => current.run(),
  };
}

/** Numbers of a tensor of 64-bit or 32-bit integers in the session's memory. */
function readMemory(memory: Uint8Array, operand: Operand): number[] {
  const { dtype, pointer, elements } = operand;
  if (dtype === "int32") return [...new Int32Array(memory.buffer, pointer, elements)];
  return [...new Float64Array(memory.buffer, pointer, elements)];
}

/** True for shapes that the kernels walk whatever the strides. */
const isShort = (shape: readonly number[]) => shape.length <= 6;

function compileCopies(
  operator: CopyOperator,
  node: OperatorNode,
  context: CompileContext,
): CompiledStep {
  const slots = Array.from({ length: operator.count(node) }, () => copySlot(context));
  const numbers = (operator.numbers ?? []).filter((input) => (node.inputs[input] ?? "") !== "");
  const changing = numbers.filter((input) => !context.isConstant(input));
  const zeros = operator.usesZero ? context.reserve(8) : undefined;
  zeros?.bytes.fill(0);
  const zero = zeros?.pointer;
  let count = 0;
  let seen: readonly (readonly number[])[] | undefined;
  let bound: {
    inputs: readonly (Operand | undefined)[];
    outputs: readonly (Operand | undefined)[];
  };
  const readAll = (inputs: readonly (Operand | undefined)[], which: readonly number[]) =>
    which.map((input) => {
      const operand = inputs[input];
      return operand ? readMemory(context.memory(), operand) : [];
    });
  const plan = (
    inputs: readonly (Operand | undefined)[],
    outputs: readonly (Operand | undefined)[],
  ) => {
    const read: ReadNumbers = (input) => {
      const operand = inputs[input];
      return operand && readMemory(context.memory(), operand);
    };
    const copies = operator.copies(node, inputs, outputs, read);
    count = 0;
    for (const { input, output, shape, from, to } of copies) {
      const target = outputs[output];
      const pointer = input === zeroInput ? zero : inputs[input]?.pointer;
      if (pointer === undefined || !target) continue;
      const bytes = copyBytes(target);
      const planned = bytes && planCopy(bytes, shape, from, to);
      if (!planned) throw new RangeError("the copy has too many dimensions");
      slots[count++].set(planned, bytes, pointer, target.pointer);
    }
  };
  return {
    fits(inputs, outputs) {
      if (outputs.some((type) => type && copyBytes(type) === undefined)) return false;
      const isInteger = (input: number) => /^int(32|64)$/.test(inputs[input]?.dtype ?? "");
      if (!numbers.every(isInteger)) return false;
      if (numbers.length > 0) return isShort(outputs[0]?.shape ?? []);
      return operator
        .copies(node, inputs, outputs, () => undefined)
        .every(({ shape, from, to }) => isShort(shape) || planCopy(4, shape, from, to));
    },
    bind(inputs, outputs) {
      bound = { inputs, outputs };
      // Numbers that are fed or computed are not there yet.
      seen = undefined;
      if (changing.length === 0) plan(inputs, outputs);
    },
    run() {
      if (changing.length > 0) {
        const now = readAll(bound.inputs, changing);
        const before = seen;
        const isSame =
          before && now.every((list, at) => list.every((value, i) => value === before[at][i]));
        if (!isSame) plan(bound.inputs, bound.outputs);
        seen = now;
      }
      for (let i = 0; i < count; i++) slots[i].run();
    },
  };
}

/** The operator that moves these blocks. */
export function copyOperator(operator: CopyOperator): Operator {
  const { infer, appends } = operator;
  return {
    infer,
    ...(appends && { appends }),
    compute(node, inputs, outputs) {
      const read: ReadNumbers = (input) => {
        const tensor = inputs[input];
        return tensor && Array.from(tensor.data);
      };
      for (const copy of operator.copies(node, inputs, outputs, read)) {
        const source = copy.input === zeroInput ? new Uint8Array(1) : inputs[copy.input]?.data;
        const target = outputs[copy.output]?.data;
        if (source && target) copyElements(copy.shape, source, copy.from, target, copy.to);
      }
    },
    compile: (node, context) => compileCopies(operator, node, context),
  };
}
