/**
 * Attention of opset 23: three or four axes, grouped heads, a boolean or additive mask, caches.
 * Not here: scores as an output and lengths per sample, which go to the fallback.
 */
import { headStrides } from "../../../../native/index.ts";
import type { Operator, OperatorNode, TensorType } from "../../session/operator.ts";
import { floatAttribute, intAttribute, product, required } from "../tensor/attributes.ts";
import { broadcastAt, fillMask } from "./attention-mask.ts";
import { appendRows, flatHeads, type Heads, maskStrides, placeOf, splitHeads } from "./heads.ts";
import { type Block, machineOperator } from "./machine.ts";

const at = { mask: 3, pastKey: 4, pastValue: 5 } as const;

function headsOf(node: OperatorNode, inputs: readonly (Block | undefined)[]) {
  const part = (index: number): Heads => {
    const block = required(inputs, index);
    const name = index === 0 ? "q_num_heads" : "kv_num_heads";
    return block.shape.length === 4
      ? splitHeads(block)
      : flatHeads(block, intAttribute(node, name, 1));
  };
  const [q, k, v] = [part(0), part(1), part(2)];
  if (k.size !== q.size || k.rows !== v.rows || k.heads !== v.heads || q.heads % k.heads) {
    throw new RangeError(`${q.heads} heads of ${q.size} for ${k.heads} of ${k.size}`);
  }
  return { q, k, v };
}

function sizesOf(node: OperatorNode, inputs: readonly (TensorType | undefined)[]) {
  const blocks = inputs.map((input) => input && { ...input, pointer: 0 });
  const heads = headsOf(node, blocks);
  const past = inputs[at.pastKey]?.shape[2] ?? 0;
  return { ...heads, past, keys: past + heads.k.rows };
}

/** The mask to build: additive, as long as the keys. */
function builtMask(mask: TensorType | undefined, keys: number): TensorType | undefined {
  if (!mask || (mask.dtype !== "bool" && maskStrides(mask.shape, keys))) return undefined;
  const padded = [1, 1, 1, 1, ...mask.shape].slice(-4);
  return { dtype: "float32", shape: [...padded.slice(0, 3), keys] };
}

export const standardAttention: Operator = machineOperator({
  others: [at.mask],
  appends: () => [
    { input: at.pastKey, output: 1 },
    { input: at.pastValue, output: 2 },
  ],
  refuses: (node) => {
    if (node.inputs[6]) return "lengths per sample";
    return node.outputs[3] ? "scores as an output" : undefined;
  },
  infer(node, inputs) {
    const { dtype, shape } = required(inputs, 0);
    const { q, k, v, keys } = sizesOf(node, inputs);
    const out =
      shape.length === 4 ? [q.batch, q.heads, q.rows, v.size] : [q.batch, q.rows, q.heads * v.size];
    const cache = (of: Heads, index: number): TensorType => ({
      dtype: required(inputs, index).dtype,
      shape: [k.batch, of.heads, keys, of.size],
    });
    const types = [{ dtype, shape: out }, cache(k, 1), cache(v, 2)];
    return types.map((type, index) => (node.outputs[index] ? type : undefined));
  },
  scratch(node, inputs, outputs) {
    const { dtype } = required(inputs, 0);
    const { k, v, keys } = sizesOf(node, inputs);
    const cache = (of: Heads, output: number): TensorType => {
      const isNeeded = inputs[at.pastKey] && !outputs[output];
      return { dtype, shape: isNeeded ? [k.batch, of.heads, keys, of.size] : [0] };
    };
    const mask = builtMask(inputs[at.mask], keys);
    return [cache(k, 1), cache(v, 2), mask ?? { dtype: "float32", shape: [0] }];
  },
  work(machine, node, inputs, outputs, scratch) {
    const { q, k, v } = headsOf(node, inputs);
    const { past, keys } = sizesOf(node, inputs);
    const present = (output: number, added: Heads): Heads => {
      const before = inputs[at.pastKey + output - 1];
      const block = outputs[output] ?? (before ? scratch[output - 1] : undefined);
      if (!block) return added;
      const heads = splitHeads(block);
      appendRows(machine, before, added, heads);
      return heads;
    };
    const [allKeys, allValues] = [present(1, k), present(2, v)];
    const out = required(outputs, 0);
    if (product(out.shape) === 0) return;
    const given = inputs[at.mask];
    const built = builtMask(given, keys);
    if (given && built) {
      const data = machine.numbers(given);
      const element = broadcastAt(given.shape);
      const length = given.shape.at(-1) ?? 1;
      const hidden = Number.NEGATIVE_INFINITY;
      const value = (b: number, h: number, i: number, j: number) => {
        if (length > 1 && j >= length) return hidden;
        const found = data[element(b, h, i, j)];
        return given.dtype === "bool" ? (found ? 0 : hidden) : found;
      };
      fillMask(machine.numbers(scratch[2]), built, value);
    }
    const masking = built ? scratch[2] : given;
    const mask = masking && maskStrides(built?.shape ?? masking.shape, keys);
    const shape = {
      batch: q.batch,
      queries: q.rows,
      heads: q.heads,
      kvHeads: k.heads,
      headSize: q.size,
      valueSize: v.size,
      length: keys,
      offset: past,
      causal: intAttribute(node, "is_causal", 0) === 1,
      scale: floatAttribute(node, "scale", 0) || 1 / Math.sqrt(q.size),
      softcap: floatAttribute(node, "softcap", 0),
      q: q.strides,
      k: allKeys.strides,
      v: allValues.strides,
      out: headStrides(out.shape.length === 4 ? "BNSH" : "BSNH", q.rows, q.heads, v.size),
      ...(mask ? { mask } : {}),
    };
    machine.attend(shape, {
      q: placeOf(q),
      k: placeOf(allKeys),
      v: placeOf(allValues),
      out: { block: out },
      mask: masking && { block: masking },
    });
  },
});
