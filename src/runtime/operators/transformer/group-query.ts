/**
 * GroupQueryAttention of the contrib domain: appends to the caches, turns queries and keys, attends.
 * Not here: caches of low-bit numbers and attention sinks, which go to the fallback.
 * Invariant: rows of the caches beyond a sample's tokens are never read.
 */
import type { HeadStrides } from "../../../../native/index.ts";
import type { InferInput, Operator, OperatorNode, TensorType } from "../../session/operator.ts";
import { floatAttribute, intAttribute, intsOf, product, required } from "../tensor/attributes.ts";
import { copyRows, type Heads, isInPlace, placeOf, splitHeads } from "./heads.ts";
import { type Block, type Machine, machineOperator } from "./machine.ts";

const at = {
  query: 0,
  key: 1,
  value: 2,
  pastKey: 3,
  pastValue: 4,
  lengths: 5,
  total: 6,
  cos: 7,
  sin: 8,
} as const;

/** Attributes whose other values have no kernel. */
const plainAttributes = ["smooth_softmax", "sliding_window_cache", "qk_output"] as const;

interface Sizes {
  readonly batch: number;
  readonly rows: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly size: number;
  readonly packed: boolean;
}

function sizesOf(node: OperatorNode, inputs: readonly (TensorType | undefined)[]): Sizes {
  const { shape } = required(inputs, at.query);
  const heads = intAttribute(node, "num_heads", 0);
  const kvHeads = intAttribute(node, "kv_num_heads", 0);
  const packed = !inputs[at.key];
  const parts = packed ? heads + 2 * kvHeads : heads;
  const [batch, rows, width] = shape;
  if (shape.length !== 3 || kvHeads < 1 || heads % kvHeads || width % parts) {
    throw new RangeError(`a query [${shape.join(", ")}] for ${heads} heads of ${kvHeads} groups`);
  }
  return { batch, rows, heads, kvHeads, size: width / parts, packed };
}

function refuses(node: OperatorNode): string | undefined {
  const extra = node.inputs.findIndex((name, index) => index > at.sin && name !== "");
  if (extra >= 0) return `input ${extra}`;
  const odd = plainAttributes.find((name) => intAttribute(node, name, 0) > 0);
  if (odd) return `attribute ${odd}`;
  if (node.outputs[3]) return "scores as an output";
  return intAttribute(node, "causal", 1) === 1 ? undefined : "attention without causality";
}

function infer(node: OperatorNode, inputs: readonly (InferInput | undefined)[]) {
  const { dtype } = required(inputs, at.query);
  const { batch, rows, heads, kvHeads, size } = sizesOf(node, inputs);
  const total = intsOf(inputs, at.total)?.[0] ?? 0;
  const past = inputs[at.pastKey]?.shape[2] ?? 0;
  const cache: TensorType = { dtype, shape: [batch, kvHeads, Math.max(past, total), size] };
  return [{ dtype, shape: [batch, rows, heads * size] }, cache, cache];
}

/** Turned queries, caches that nobody asked for, lengths and positions of the samples. */
function scratch(
  node: OperatorNode,
  inputs: readonly (TensorType | undefined)[],
  outputs: readonly (TensorType | undefined)[],
): readonly TensorType[] {
  const { batch, rows, heads, kvHeads, size } = sizesOf(node, inputs);
  const { dtype } = required(inputs, at.query);
  const perSample: TensorType = { dtype: "int32", shape: [batch] };
  const turned: TensorType = { dtype, shape: [batch, rows, heads * size] };
  const capacity = outputs[1]?.shape[2] ?? (inputs[at.pastKey]?.shape[2] ?? 0) + rows;
  const cache: TensorType = { dtype, shape: [batch, kvHeads, capacity, size] };
  const none: TensorType = { dtype, shape: [0] };
  return [
    intAttribute(node, "do_rotary", 0) ? turned : none,
    perSample,
    perSample,
    outputs[1] ? none : cache,
    outputs[2] ? none : cache,
  ];
}

function headsOf(sizes: Sizes, inputs: readonly (Block | undefined)[], part: 0 | 1 | 2): Heads {
  const { batch, rows, heads, kvHeads, size, packed } = sizes;
  const count = part === 0 ? heads : kvHeads;
  const width = packed ? (heads + 2 * kvHeads) * size : count * size;
  const before = packed ? [0, heads, heads + kvHeads][part] * size : 0;
  const block = required(inputs, packed ? 0 : part);
  const strides: HeadStrides = { batch: rows * width, head: size, row: width };
  return { block, offset: before, batch, rows, heads: count, size, strides };
}

function work(
  machine: Machine,
  node: OperatorNode,
  inputs: readonly (Block | undefined)[],
  outputs: readonly (Block | undefined)[],
  [turned, lengthBlock, offsetBlock, spareKey, spareValue]: readonly Block[],
): void {
  const sizes = sizesOf(node, inputs);
  const { batch, rows, heads, kvHeads, size } = sizes;
  if (product(required(inputs, 0).shape) === 0) return;
  const present = [splitHeads(outputs[1] ?? spareKey), splitHeads(outputs[2] ?? spareValue)];
  const total = machine.numbers(required(inputs, at.total))[0];
  const lengths = Array.from(machine.numbers(required(inputs, at.lengths)), (last) => last + 1);
  // The first prompt may be padded on the right; later tokens follow what each sample has.
  const pasts = lengths.map((length) => (rows === total ? 0 : Math.max(0, length - rows)));
  if (lengths.some((length) => length < 1 || length > present[0].rows)) {
    throw new RangeError(`${lengths.join(", ")} tokens in caches of ${present[0].rows}`);
  }
  const isEven = pasts.every((past) => past === pasts[0]);
  for (const part of [0, 1]) {
    const block = inputs[at.pastKey + part];
    const to = present[part];
    if (!block || isInPlace(block, to.block)) continue;
    if (isEven || block.shape[2] === to.rows) copyRows(machine, splitHeads(block), to);
    else {
      // Rows after a sample's last token are zero, so that results do not depend on old memory.
      machine.numbers(to.block).fill(0);
      for (const [sample, past] of pasts.entries()) {
        copyRows(machine, { ...splitHeads(block), rows: past }, to, 0, sample);
      }
    }
  }
  const rotary = intAttribute(node, "do_rotary", 0) === 1;
  const q = headsOf(sizes, inputs, 0);
  const qTurned: Heads = {
    ...q,
    block: turned,
    offset: 0,
    strides: { batch: rows * heads * size, head: size, row: heads * size },
  };
  // Samples at different places go one by one.
  for (const sample of isEven ? [undefined] : pasts.keys()) {
    const past = pasts[sample ?? 0];
    const of = (all: Heads): Heads =>
      sample === undefined
        ? all
        : { ...all, batch: 1, offset: all.offset + sample * all.strides.batch };
    const k = of(headsOf(sizes, inputs, 1));
    const to = of(present[0]);
    if (rotary) {
      rotate(machine, node, inputs, of(q), of(qTurned), past);
      rotate(machine, node, inputs, k, { ...to, offset: to.offset + past * to.strides.row }, past);
    } else copyRows(machine, k, to, past);
    copyRows(machine, of(headsOf(sizes, inputs, 2)), of(present[1]), past);
  }
  const query = rotary ? qTurned : q;
  machine.numbers(lengthBlock).set(lengths);
  machine.numbers(offsetBlock).set(pasts);
  const window = intAttribute(node, "local_window_size", -1);
  const shape = {
    batch,
    queries: rows,
    heads,
    kvHeads,
    headSize: size,
    length: Math.max(...lengths),
    causal: true,
    window: Math.max(window, 0),
    scale: floatAttribute(node, "scale", 0) || 1 / Math.sqrt(size),
    softcap: floatAttribute(node, "softcap", 0),
    q: query.strides,
    k: present[0].strides,
    v: present[1].strides,
    out: qTurned.strides,
  };
  machine.attend(shape, {
    q: placeOf(query),
    k: placeOf(present[0]),
    v: placeOf(present[1]),
    out: { block: required(outputs, 0) },
    lengths: { block: lengthBlock },
    offsets: { block: offsetBlock },
  });
}

function rotate(
  machine: Machine,
  node: OperatorNode,
  inputs: readonly (Block | undefined)[],
  from: Heads,
  to: Heads,
  position: number,
): void {
  const cos = required(inputs, at.cos);
  const { batch, rows, heads, size, strides } = from;
  const shape = {
    batch,
    rows,
    heads,
    headSize: size,
    rotarySize: 2 * cos.shape[1],
    interleaved: intAttribute(node, "rotary_interleaved", 0) === 1,
    x: strides,
    out: to.strides,
    offset: position,
    cacheRows: cos.shape[0],
  };
  const sin = { block: required(inputs, at.sin) };
  machine.rotate(shape, { x: placeOf(from), out: placeOf(to), cos: { block: cos }, sin });
}

export const groupQueryAttention: Operator = machineOperator({
  refuses,
  infer,
  scratch,
  work,
  others: [at.lengths, at.total],
  appends: () => [
    { input: at.pastKey, output: 1 },
    { input: at.pastValue, output: 2 },
  ],
});
