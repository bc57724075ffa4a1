/**
 * The attention that a fusion makes of a graph that writes it out: softmax(cap(scale · q·kᵀ) + mask) · v. Heads of keys
 * and values are shared by equally many heads of queries; batches of one repeat.
 */
import { headStrides } from "../../../../native/index.ts";
import type { Operator, OperatorNode, TensorType } from "../../session/operator.ts";
import { floatAttribute, intAttribute, product, required } from "../tensor/attributes.ts";
import { broadcastAt, fillMask, maskType } from "./attention-mask.ts";
import { type Heads, maskStrides, placeOf, splitHeads } from "./heads.ts";
import { type Block, machineOperator } from "./machine.ts";

const at = { mask: 3, scales: 4 } as const;

/** [batch, rows, heads, size] or [batch, heads, rows, size]. */
function headsOf(node: OperatorNode, block: Block, name: string): Heads {
  const heads = splitHeads(block);
  if (intAttribute(node, `${name}_rows_first`, 0) === 0) return heads;
  const strides = headStrides("BSNH", heads.heads, block.room ?? heads.rows, heads.size);
  return { ...heads, rows: heads.heads, heads: heads.rows, strides };
}

function partsOf(node: OperatorNode, inputs: readonly (TensorType | undefined)[]) {
  const part = (index: number, name: string) => {
    const block = { pointer: 0, ...required(inputs, index) };
    return headsOf(node, block, name);
  };
  const [q, k, v] = [part(0, "queries"), part(1, "keys"), part(2, "values")];
  const [maskBatch, maskHeads] = [1, 1, 1, 1, ...(inputs[at.mask]?.shape ?? [])].slice(-4);
  const batch = Math.max(q.batch, k.batch, v.batch, maskBatch);
  const fits =
    (maskBatch === 1 || maskBatch === batch) &&
    (maskHeads === 1 || maskHeads === q.heads) &&
    [q, k, v].every((heads) => heads.batch === 1 || heads.batch === batch) &&
    k.size === q.size &&
    k.rows === v.rows &&
    k.heads === v.heads &&
    q.heads % k.heads === 0;
  if (!fits) {
    const shapes = inputs.slice(0, 3).map((input) => `[${input?.shape.join(", ")}]`);
    const mask = inputs[at.mask] ? ` and the mask [${inputs[at.mask]?.shape.join(", ")}]` : "";
    throw new RangeError(`queries, keys and values ${shapes.join(", ")}${mask} do not fit`);
  }
  return { q, k, v, batch: q.batch === 0 ? 0 : batch };
}

/** The mask in full, where the kernel cannot walk it as it is. */
function builtMask(
  mask: TensorType | undefined,
  { batch, q, k }: { readonly batch: number; readonly q: Heads; readonly k: Heads },
): TensorType | undefined {
  if (!mask || maskStrides(mask.shape, k.rows)) return undefined;
  return maskType({ batch, rows: q.rows, keys: k.rows, past: 0 }, q.heads);
}

const repeating = (heads: Heads) =>
  heads.batch === 1 ? { ...heads.strides, batch: 0 } : heads.strides;

export const plainAttention: Operator = machineOperator({
  readsRoom: [1, 2],
  infer(node, inputs) {
    const { dtype } = required(inputs, 2);
    const { q, v, batch } = partsOf(node, inputs);
    const rowsFirst = intAttribute(node, "output_rows_first", 0) === 1;
    const middle = rowsFirst ? [q.rows, q.heads] : [q.heads, q.rows];
    return [{ dtype, shape: [batch, ...middle, v.size] }];
  },
  scratch(node, inputs) {
    const mask = builtMask(inputs[at.mask], partsOf(node, inputs));
    return [mask ?? { dtype: "float32", shape: [0] }];
  },
  work(machine, node, inputs, outputs, [room]) {
    const out = required(outputs, 0);
    if (product(out.shape) === 0) return;
    const parts = partsOf(node, inputs);
    const { q, k, v, batch } = parts;
    const given = inputs[at.mask];
    const built = builtMask(given, parts);
    if (given && built) {
      const data = machine.numbers(given);
      const element = broadcastAt(given.shape);
      fillMask(machine.numbers(room), built, (b, h, i, j) => data[element(b, h, i, j)]);
    }
    const masking = built ? room : given;
    const mask = masking && maskStrides(built?.shape ?? masking.shape, k.rows);
    let scale = floatAttribute(node, "scale", 1);
    for (const factor of inputs.slice(at.scales)) if (factor) scale *= machine.numbers(factor)[0];
    const layout = intAttribute(node, "output_rows_first", 0) === 1 ? "BSNH" : "BNSH";
    const shape = {
      batch,
      queries: q.rows,
      heads: q.heads,
      kvHeads: k.heads,
      headSize: q.size,
      valueSize: v.size,
      length: k.rows,
      scale,
      softcap: floatAttribute(node, "softcap", 0),
      q: repeating(q),
      k: repeating(k),
      v: repeating(v),
      out: headStrides(layout, q.rows, q.heads, v.size),
      ...(mask ? { mask } : {}),
    };
    machine.attend(shape, {
      q: placeOf(q),
      k: placeOf(k),
      v: placeOf(v),
      out: { block: out },
      mask: masking && { block: masking },
    });
  },
});
