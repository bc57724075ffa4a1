/**
 * Attention of the contrib domain, after its projection: a fusion splits the operator into a product with a bias and
 * this node, so that the product runs on packed weights. The whole operator is here in its JavaScript form too.
 */
import type { Operator, OperatorNode, TensorType } from "../../session/operator.ts";
import { arrayOf, type HostTensor, hostTensor } from "../../session/storage.ts";
import { intAttribute, product, required } from "../tensor/attributes.ts";
import { appendRows, type Heads } from "./heads.ts";
import { type Block, type MachineOperator, machineOperator } from "./machine.ts";
import { attendMasked, builtMask } from "./multi-head.ts";

/** Inputs of the internal node: projected [batch, rows, widths of q, k and v], mask, past, additive mask. */
const at = { packed: 0, mask: 1, past: 2, bias: 3 } as const;

interface Widths {
  readonly heads: number;
  /** Of queries and keys, and of values. */
  readonly size: number;
  readonly valueSize: number;
}

function widthsOf(node: OperatorNode, total: number): Widths {
  const heads = intAttribute(node, "num_heads", 1);
  const given = node.attributes.get("qkv_hidden_sizes");
  const [q, , v] =
    given?.type === "ints" && given.value.length === 3 ? given.value : [total / 3, 0, total / 3];
  if (2 * q + v !== total || q % heads || v % heads) {
    throw new RangeError(`${total} projected columns for ${heads} heads`);
  }
  return { heads, size: q / heads, valueSize: v / heads };
}

function sizesOf(node: OperatorNode, inputs: readonly (TensorType | undefined)[]) {
  const { shape, dtype } = required(inputs, at.packed);
  const [batch, rows, total] = shape;
  const past = inputs[at.past]?.shape[3] ?? 0;
  return { dtype, batch, rows, past, keys: past + rows, ...widthsOf(node, total) };
}

/** One of the two caches that lie in one tensor. */
function half(block: Block, part: 0 | 1): Heads {
  const [, batch, heads, rows, size] = block.shape;
  const strides = { batch: heads * rows * size, head: rows * size, row: size };
  return { block, offset: part * batch * heads * rows * size, batch, heads, rows, size, strides };
}

const projected: MachineOperator = {
  others: [at.mask],
  infer(node, inputs) {
    const { dtype, batch, rows, keys, heads, size, valueSize } = sizesOf(node, inputs);
    const cache: TensorType = { dtype, shape: [2, batch, heads, keys, size] };
    return [
      { dtype, shape: [batch, rows, heads * valueSize] },
      node.outputs[1] ? cache : undefined,
    ];
  },
  scratch(node, inputs, outputs) {
    const sizes = sizesOf(node, inputs);
    const { dtype, batch, heads, keys, size } = sizes;
    const needsCache = inputs[at.past] && !outputs[1];
    const mask = builtMask(sizes, inputs[at.mask], inputs[at.bias]);
    return [
      { dtype, shape: needsCache ? [2, batch, heads, keys, size] : [0] },
      mask ?? { dtype: "float32", shape: [0] },
    ];
  },
  work(machine, node, inputs, outputs, [spare, mask]) {
    const block = required(inputs, at.packed);
    const sizes = sizesOf(node, inputs);
    const { batch, rows, heads, size, valueSize } = sizes;
    const width = heads * (2 * size + valueSize);
    const part = (offset: number, own: number): Heads => {
      const strides = { batch: rows * width, head: own, row: width };
      return { block, offset, batch, rows, heads, size: own, strides };
    };
    let k = part(heads * size, size);
    let v = part(2 * heads * size, valueSize);
    const past = inputs[at.past];
    const present = outputs[1] ?? (past && spare);
    if (present) {
      const joined = ([0, 1] as const).map((which) => {
        const to = half(present, which);
        if (past) {
          const from = half(past, which);
          const shape = [batch, heads, from.rows, size];
          const walk = ({ strides, offset }: Heads) => ({
            strides: [strides.batch, strides.head, strides.row, 1],
            offset,
          });
          machine.copy(shape, { block: past }, walk(from), { block: present }, walk(to));
        }
        const added = { ...to, offset: to.offset + sizes.past * to.strides.row };
        appendRows(machine, undefined, which === 0 ? k : v, added);
        return to;
      });
      [k, v] = joined;
    }
    attendMasked(machine, node, {
      sizes,
      q: part(0, size),
      k,
      v,
      padding: inputs[at.mask],
      bias: inputs[at.bias],
      out: required(outputs, 0),
      mask,
    });
  },
};

/** Name of the internal node. */
export const projectedAttention = "ProjectedAttention";

const projectedOperator = machineOperator(projected);

/** What the whole operator hands to its second half. */
const secondHalf = <T>(inputs: readonly (T | undefined)[], packed: T) => [
  packed,
  inputs[3],
  inputs[4],
  inputs[5],
];

function projectedType(inputs: readonly (TensorType | undefined)[]): TensorType {
  const { dtype, shape } = required(inputs, 0);
  const weights = required(inputs, 1);
  if (shape.length !== 3 || shape[2] !== weights.shape[0]) {
    throw new RangeError(`[${shape.join(", ")}] times [${weights.shape.join(", ")}]`);
  }
  return { dtype, shape: [shape[0], shape[1], weights.shape[1]] };
}

/** x · W + b. */
function project(inputs: readonly (HostTensor | undefined)[]): HostTensor {
  const { dtype, shape } = projectedType(inputs);
  const x = required(inputs, 0).data;
  const weights = required(inputs, 1).data;
  const bias = inputs[2]?.data;
  const [K, N] = required(inputs, 1).shape;
  const data = new (arrayOf(dtype))(product(shape));
  for (let at = 0; at < data.length; at++) {
    const [row, n] = [Math.floor(at / N), at % N];
    let sum = bias?.[n] ?? 0;
    for (let k = 0; k < K; k++) sum += x[row * K + k] * weights[k * N + n];
    data[at] = sum;
  }
  return hostTensor(dtype, shape, data);
}

/** Why the operator cannot run here. */
export function refusesAttention(node: OperatorNode): string | undefined {
  if (node.inputs[6] || intAttribute(node, "past_present_share_buffer", 0)) {
    return "caches in shared buffers";
  }
  return intAttribute(node, "do_rotary", 0) ? "a rotary embedding inside" : undefined;
}

export const attentionOperators: Readonly<Record<string, Operator>> = {
  [`bitloom.internal::${projectedAttention}`]: projectedOperator,
  "com.microsoft::Attention": {
    refuses: refusesAttention,
    infer: (node, inputs) => {
      const packed = { ...projectedType(inputs), known: undefined };
      return projectedOperator.infer(node, secondHalf(inputs, packed));
    },
    compute(node, inputs, outputs) {
      projectedOperator.compute?.(node, secondHalf(inputs, project(inputs)), outputs);
    },
  },
};
