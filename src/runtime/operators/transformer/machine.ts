/**
 * What attention operators are made of, on two machines: kernels in the session's memory, or plain loops over
 * arrays. An operator is written once, as calls of a machine, and gets both its forms from it.
 * Invariant: both machines read and write the same elements.
 */
import {
  type AttentionShape,
  attention,
  binaryKernels,
  copyKernels,
  type Fields,
  planAttention,
  planBinary,
  planCopy,
  planRotary,
  type RotaryShape,
  rotary,
  transposeKernel,
  type Walk,
} from "../../../../native/index.ts";
import type { Task } from "../../../engine/task.ts";
import type {
  CompileContext,
  CompiledStep,
  Operator,
  OperatorNode,
  TensorType,
} from "../../session/operator.ts";
import {
  arrayOf,
  elementBytes,
  type HostTensor,
  isFloat,
  type NumberArray,
} from "../../session/storage.ts";
import { product } from "../tensor/attributes.ts";
import { addRow, attend, copyWalk, turn } from "./machine-loops.ts";

/** A tensor of either machine. */
export interface Block extends TensorType {
  readonly pointer: number;
  readonly room?: number | undefined;
  /** On the machine of arrays. */
  readonly data?: NumberArray;
}

/** A block from some element on. */
export interface Place {
  readonly block: Block;
  readonly offset?: number;
}

export interface AttentionPlaces {
  readonly q: Place;
  readonly k: Place;
  readonly v: Place;
  readonly out: Place;
  readonly mask?: Place | undefined;
  readonly lengths?: Place | undefined;
  readonly offsets?: Place | undefined;
}

export interface RotaryPlaces {
  readonly x: Place;
  readonly out: Place;
  readonly cos: Place;
  readonly sin: Place;
  readonly ids?: Place | undefined;
}

export interface Machine {
  /** Moves `shape` elements of float32. */
  copy(shape: readonly number[], from: Place, fromWalk: Walk, to: Place, toWalk: Walk): void;
  /** to[r, i] = from[r, i] + row[i]. */
  addRow(rows: number, length: number, from: Place, row: Place, to: Place): void;
  rotate(shape: RotaryShape, places: RotaryPlaces): void;
  attend(shape: AttentionShape, places: AttentionPlaces): void;
  /** The numbers of a block, valid until the machine's next call. */
  numbers(block: Block): NumberArray;
}

export interface MachineOperator
  extends Pick<Operator, "infer" | "refuses" | "appends" | "readsRoom"> {
  /** Blocks that the work needs besides inputs and outputs. */
  scratch?(
    node: OperatorNode,
    inputs: readonly (TensorType | undefined)[],
    outputs: readonly (TensorType | undefined)[],
  ): readonly TensorType[];
  work(
    machine: Machine,
    node: OperatorNode,
    inputs: readonly (Block | undefined)[],
    outputs: readonly (Block | undefined)[],
    scratch: readonly Block[],
  ): void;
  /** Inputs that may have other types than float. */
  readonly others?: readonly number[];
}

/** An operator with both its forms. */
export function machineOperator(definition: MachineOperator): Operator {
  const { scratch = () => [], work, others = [], ...rest } = definition;
  return {
    ...rest,
    compute(node, inputs, outputs) {
      const made = scratch(node, inputs, outputs).map(({ dtype, shape }): Block => {
        return { dtype, shape, pointer: 0, data: new (arrayOf(dtype))(product(shape)) };
      });
      work(arrayMachine, node, inputs.map(asBlock), outputs.map(asBlock), made);
    },
    compile: (node, context): CompiledStep => {
      const machine = kernelMachine(context);
      let run = () => {};
      return {
        fits: (inputs) =>
          inputs.every((input, i) => !input || others.includes(i) || isFloat(input.dtype)),
        workspaceBytes: (inputs, outputs) =>
          scratch(node, inputs, outputs).reduce((sum, type) => sum + blockBytes(type), 0),
        bind(inputs, outputs, workspace) {
          let pointer = workspace;
          const made = scratch(node, inputs, outputs).map((type): Block => {
            const block = { ...type, pointer };
            pointer += blockBytes(type);
            return block;
          });
          run = () => {
            machine.restart();
            work(machine, node, inputs, outputs, made);
          };
        },
        run: () => run(),
      };
    },
  };
}

const asBlock = (tensor: HostTensor | undefined): Block | undefined =>
  tensor && { ...tensor, pointer: 0 };

/** Blocks start at multiples of 16 bytes. */
const blockBytes = ({ dtype, shape }: TensorType): number =>
  Math.ceil((product(shape) * elementBytes(dtype)) / 16) * 16;

const addressOf = (place: Place | undefined): number =>
  place ? place.block.pointer + (place.offset ?? 0) * elementBytes(place.block.dtype) : 0;

/** Equal numbers and strides, apart from what `change` sets anew. */
function sameShape<S extends object>(a: S | undefined, b: S, but: readonly (keyof S)[]): boolean {
  if (!a) return false;
  for (const key in a) if (!(key in b)) return false;
  for (const key in b) {
    const one: unknown = a[key];
    const other: unknown = b[key];
    if (one === other || but.includes(key)) continue;
    if (typeof one !== "object" || typeof other !== "object" || !one || !other) return false;
    if (!sameShape(one, other, [])) return false;
  }
  return true;
}

/** Tasks of the calls that an operator makes in a row; a call that has the shape of its last one only moves. */
function calls<S extends object, F extends Fields>(tasks: readonly Task<F>[]) {
  const slots = tasks.map((task) => ({ task, shape: undefined as S | undefined, items: 0 }));
  let next = 0;
  return {
    restart: () => {
      next = 0;
    },
    next: () => slots[next++ % slots.length],
  };
}

/** Calls of one kind that an operator makes at most in a row before tasks are filled anew. */
const rotaryCalls = 2;
const copyCalls = 4;

interface CopyShape {
  readonly shape: readonly number[];
  readonly from: readonly number[];
  readonly to: readonly number[];
}

interface KernelMachine extends Machine {
  /** Before each run. */
  restart(): void;
}

function kernelMachine(context: CompileContext): KernelMachine {
  const many = <T>(count: number, make: () => T) => Array.from({ length: count }, make);
  const transpose = context.task(transposeKernel);
  const add = context.task(binaryKernels["f32-add"]);
  const copies = calls<CopyShape, Fields>(
    many(copyCalls, () => context.task(copyKernels[4]) as Task),
  );
  const rotations = calls<RotaryShape, (typeof rotary)["fields"]>(
    many(rotaryCalls, () => context.task(rotary)),
  );
  const attentions = calls<AttentionShape, (typeof attention)["fields"]>([context.task(attention)]);
  return {
    restart() {
      copies.restart();
      rotations.restart();
      attentions.restart();
    },
    copy(shape, from, fromWalk, to, toWalk) {
      const elements = product(shape);
      if (elements === 0) return;
      const slot = copies.next();
      const wanted = { shape, from: fromWalk.strides, to: toWalk.strides };
      const input = addressOf(from) + 4 * (fromWalk.offset ?? 0);
      const output = addressOf(to) + 4 * (toWalk.offset ?? 0);
      if (sameShape(slot.shape, wanted, [])) {
        slot.task.change({ input, output }, slot.items, elements / 4);
        slot.task.run();
        return;
      }
      const plan = planCopy(4, shape, { strides: wanted.from }, { strides: wanted.to });
      if (!plan) throw new RangeError(`no walk over [${shape.join(", ")}]`);
      const { kernel, values, items } = plan;
      if (kernel === transposeKernel) {
        transpose.set({ ...values, input, output } as never, items, elements / 4);
        transpose.run();
        return;
      }
      slot.task.set({ ...values, input, output } as never, items, elements / 4);
      Object.assign(slot, { shape: wanted, items });
      slot.task.run();
    },
    addRow(rows, length, from, row, to) {
      const plan = planBinary("f32-add", [rows, length], [length]);
      if (!plan || rows * length === 0) return;
      const pointers = { a: addressOf(from), b: addressOf(row), output: addressOf(to) };
      add.set({ ...plan.values, ...pointers }, plan.items, rows * length);
      add.run();
    },
    rotate(shape, { x, out, cos, sin, ids }) {
      const slot = rotations.next();
      const pointers = {
        x: addressOf(x),
        out: addressOf(out),
        cos: addressOf(cos),
        sin: addressOf(sin),
        ids: addressOf(ids),
        offset: shape.offset ?? 0,
      };
      const items = shape.heads > 0 ? shape.batch * shape.rows : 0;
      const work = 3 * items * shape.heads * shape.headSize;
      if (sameShape(slot.shape, shape, ["offset"])) slot.task.change(pointers, items, work);
      else {
        slot.task.set({ ...planRotary(shape).values, ...pointers }, items, work);
        slot.shape = shape;
      }
      slot.task.run();
    },
    attend(shape, { q, k, v, out, mask, lengths, offsets }) {
      const slot = attentions.next();
      const { batch, queries, heads, headSize, valueSize = headSize, length } = shape;
      const pointers = {
        q: addressOf(q),
        k: addressOf(k),
        v: addressOf(v),
        out: addressOf(out),
        mask: addressOf(mask),
        lengths: addressOf(lengths),
        offsets: addressOf(offsets),
        length,
        offset: shape.offset ?? length - queries,
      };
      const work = 2 * batch * heads * queries * length * (headSize + valueSize);
      if (sameShape(slot.shape, shape, ["length", "offset"])) {
        slot.task.change(pointers, slot.items, work);
      } else {
        const { items, values } = planAttention(shape);
        slot.task.set({ ...values, ...pointers }, items, work);
        Object.assign(slot, { shape, items });
      }
      slot.task.run();
    },
    numbers: ({ dtype, shape, pointer }) =>
      new (arrayOf(dtype))(context.memory().buffer, pointer, product(shape)),
  };
}

const arrayAt = ({ block, offset = 0 }: Place): NumberArray => {
  if (!block.data) throw new TypeError("a block of the kernels' machine");
  return offset === 0 ? block.data : block.data.subarray(offset);
};
const given = (place: Place | undefined) => place && arrayAt(place);

/** Slow and complete: every stored float type, any sizes. */
const arrayMachine: Machine = {
  copy: (shape, from, fromWalk, to, toWalk) =>
    copyWalk(shape, arrayAt(from), fromWalk, arrayAt(to), toWalk),
  addRow: (rows, length, from, row, to) =>
    addRow(rows, length, arrayAt(from), arrayAt(row), arrayAt(to)),
  rotate: (shape, { x, out, cos, sin, ids }) =>
    turn(shape, {
      x: arrayAt(x),
      out: arrayAt(out),
      cos: arrayAt(cos),
      sin: arrayAt(sin),
      ids: given(ids),
    }),
  attend: (shape, { q, k, v, out, mask, lengths, offsets }) =>
    attend(shape, {
      q: arrayAt(q),
      k: arrayAt(k),
      v: arrayAt(v),
      out: arrayAt(out),
      mask: given(mask),
      lengths: given(lengths),
      offsets: given(offsets),
    }),
  numbers: (block) => arrayAt({ block }),
};
