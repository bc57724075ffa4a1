/**
 * MultiHeadAttention of the contrib domain, and what it shares with Attention: queries, keys and values as they come
 * (flat, split into heads, packed), a bias, a padding mask, an additive mask, caches.
 * Not here: caches in shared buffers and scores as outputs, which go to the fallback.
 */
import { headStrides } from "../../../../native/index.ts";
import type { Operator, OperatorNode, TensorType } from "../../session/operator.ts";
import { floatAttribute, intAttribute, product, required } from "../tensor/attributes.ts";
import { broadcastAt, fillMask, type MaskSizes, maskType, visibleKeys } from "./attention-mask.ts";
import { appendRows, flatHeads, type Heads, maskStrides, placeOf, splitHeads } from "./heads.ts";
import { type Block, type Machine, machineOperator } from "./machine.ts";

/** Queries, keys and values as heads, before their bias. */
function contribHeads(node: OperatorNode, inputs: readonly (Block | undefined)[]) {
  const count = intAttribute(node, "num_heads", 1);
  const query = required(inputs, 0);
  const key = inputs[1];
  if (query.shape.length === 5) {
    return { q: packedHeads(query, 0), k: packedHeads(query, 1), v: packedHeads(query, 2) };
  }
  const q = flatHeads(query, count);
  if (!key) throw new RangeError("a query of three axes needs a key");
  if (key.shape.length === 5) return { q, k: packedHeads(key, 0), v: packedHeads(key, 1) };
  const split = (block: Block) =>
    block.shape.length === 4 ? splitHeads(block) : flatHeads(block, count);
  return { q, k: split(key), v: split(required(inputs, 2)) };
}

/** One part of [batch, rows, heads, parts, size]. */
function packedHeads(block: Block, part: number): Heads {
  const [batch, rows, heads, parts, size] = block.shape;
  const strides = {
    batch: rows * heads * parts * size,
    head: parts * size,
    row: heads * parts * size,
  };
  return { block, offset: part * size, batch, rows, heads, size, strides };
}

export interface AttentionSizes extends MaskSizes {
  readonly heads: number;
  readonly valueSize: number;
}

const bare = (inputs: readonly (TensorType | undefined)[]): (Block | undefined)[] =>
  inputs.map((input) => input && { ...input, pointer: 0 });

function sizesOf(node: OperatorNode, inputs: readonly (TensorType | undefined)[]) {
  const heads = contribHeads(node, bare(inputs));
  const { q, k, v } = heads;
  const past = inputs[6]?.shape[2] ?? 0;
  if (k.rows !== v.rows || k.size !== q.size || k.batch !== q.batch) {
    throw new RangeError(`keys of ${k.batch} × ${k.rows} × ${k.size} do not fit the queries`);
  }
  const keys = past + k.rows;
  return { batch: q.batch, rows: q.rows, keys, past, heads: q.heads, valueSize: v.size, ...heads };
}

/** The mask that `attendMasked` has to build: undefined when it can use the additive one as it is, or has none. */
export function builtMask(
  sizes: AttentionSizes,
  padding: TensorType | undefined,
  bias: TensorType | undefined,
): TensorType | undefined {
  const asIs = !bias || maskStrides(bias.shape, sizes.keys) !== undefined;
  if (!padding && asIs) return undefined;
  const heads = bias && bias.shape.length > 2 ? (bias.shape.at(-3) ?? 1) : 1;
  return maskType(sizes, heads);
}

interface MaskedAttention {
  readonly q: Heads;
  /** Those of a cache included. */
  readonly k: Heads;
  readonly v: Heads;
  readonly padding: Block | undefined;
  readonly bias: Block | undefined;
  readonly sizes: AttentionSizes;
  readonly out: Block;
  /** Room for `builtMask`. */
  readonly mask: Block;
}

/** Attention over all keys, masked as the contrib operators do: hidden scores get mask_filter_value added. */
export function attendMasked(machine: Machine, node: OperatorNode, given: MaskedAttention): void {
  const { q, k, v, padding, bias, sizes, out } = given;
  const { batch, rows, keys, past, heads, valueSize } = sizes;
  if (product(out.shape) === 0) return;
  const built = builtMask(sizes, padding, bias);
  if (built) {
    const hidden = floatAttribute(node, "mask_filter_value", -10000);
    const visible = padding && visibleKeys(padding.shape, machine.numbers(padding), sizes);
    const added = bias && machine.numbers(bias);
    const at = bias && broadcastAt(bias.shape);
    const value = (b: number, h: number, i: number, j: number) =>
      (visible?.(b, i, j) === false ? hidden : 0) + (added && at ? added[at(b, h, i, j)] : 0);
    fillMask(machine.numbers(given.mask), built, value);
  }
  const masking = built ? given.mask : bias;
  const strides = masking && maskStrides(built?.shape ?? masking.shape, keys);
  const shape = {
    batch,
    queries: rows,
    heads,
    headSize: q.size,
    valueSize,
    length: keys,
    offset: past,
    causal: intAttribute(node, "unidirectional", 0) === 1,
    scale: floatAttribute(node, "scale", 0) || 1 / Math.sqrt(q.size),
    q: q.strides,
    k: k.strides,
    v: v.strides,
    out: headStrides("BSNH", rows, heads, valueSize),
    ...(strides ? { mask: strides } : {}),
  };
  machine.attend(shape, {
    q: placeOf(q),
    k: placeOf(k),
    v: placeOf(v),
    out: { block: out },
    mask: masking && { block: masking },
  });
}

/** Adds its part of the bias to a flat tensor. */
function withBias(machine: Machine, from: Heads, bias: Block, start: number, to: Block): Heads {
  const width = from.heads * from.size;
  if (from.strides.row !== width || from.strides.head !== from.size) {
    throw new RangeError("a bias needs queries, keys and values of three axes");
  }
  const row = { block: bias, offset: start };
  machine.addRow(from.batch * from.rows, width, placeOf(from), row, { block: to });
  return { ...from, block: to, offset: 0 };
}

const none = (dtype: TensorType["dtype"]): TensorType => ({ dtype, shape: [0] });

export const multiHeadAttention: Operator = machineOperator({
  others: [4],
  appends: () => [
    { input: 6, output: 1 },
    { input: 7, output: 2 },
  ],
  refuses: (node) => {
    if (node.inputs[8] || node.inputs[9]) return "caches in shared buffers";
    return node.outputs[3] ? "scores as an output" : undefined;
  },
  infer(node, inputs) {
    const { dtype } = required(inputs, 0);
    const { batch, rows, keys, heads, valueSize, q } = sizesOf(node, inputs);
    const cache = (size: number): TensorType => ({ dtype, shape: [batch, heads, keys, size] });
    return [{ dtype, shape: [batch, rows, heads * valueSize] }, cache(q.size), cache(valueSize)];
  },
  scratch(node, inputs, outputs) {
    const { dtype } = required(inputs, 0);
    const sizes = sizesOf(node, inputs);
    const { q, k, v, keys, heads, batch } = sizes;
    const flat = ({ rows, size }: Heads): TensorType =>
      inputs[3] ? { dtype, shape: [batch, rows, heads * size] } : none(dtype);
    const cache = (output: number, size: number): TensorType =>
      inputs[6] && !outputs[output] ? { dtype, shape: [batch, heads, keys, size] } : none(dtype);
    const mask = builtMask(sizes, inputs[4], inputs[5]) ?? none("float32");
    return [flat(q), flat(k), flat(v), cache(1, k.size), cache(2, v.size), mask];
  },
  work(machine, node, inputs, outputs, scratch) {
    const sizes = sizesOf(node, inputs);
    const bias = inputs[3];
    let { q, k, v } = contribHeads(node, inputs);
    if (bias && product(required(outputs, 0).shape) > 0) {
      const width = q.heads * q.size;
      q = withBias(machine, q, bias, 0, scratch[0]);
      // Keys that are split into heads come from elsewhere and have their bias.
      if (k.strides.row === width) {
        k = withBias(machine, k, bias, width, scratch[1]);
        v = withBias(machine, v, bias, 2 * width, scratch[2]);
      }
    }
    const present = (output: number, added: Heads): Heads => {
      const past = inputs[output + 5];
      const block = outputs[output] ?? (past ? scratch[output + 2] : undefined);
      if (!block) return added;
      const heads = splitHeads(block);
      appendRows(machine, past, added, heads);
      return heads;
    };
    attendMasked(machine, node, {
      sizes,
      q,
      k: present(1, k),
      v: present(2, v),
      padding: inputs[4],
      bias: inputs[5],
      out: required(outputs, 0),
      mask: scratch[5],
    });
  },
});
