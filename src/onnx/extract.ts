/**
 * Cuts a part out of a model: the nodes between some values.
 */
import { namedRole } from "../core/language-model.ts";
import type { DType } from "../core/tensor.ts";
import { editModel } from "./editor.ts";
import { storedModelOf } from "./model.ts";
import { neededBy } from "./order.ts";
import type { Model, Node, NodeSpec, ValueInfo } from "./types.ts";
import { badModel } from "./wire.ts";

export interface SubgraphEnds {
  /** Values that the new model takes as inputs: graph inputs, inner values or initializers of the old one. */
  readonly inputs: readonly ValueInfo[];
  readonly outputs: readonly ValueInfo[];
}

/**
 * The model that computes `outputs` from `inputs`: needed nodes, initializers, all functions and opsets.
 *
 * Given inputs come first, in their order, even those that turn out unneeded; graph inputs of the old model that are
 * needed besides them follow. A node whose output becomes an input stays when its other outputs are needed.
 *
 * @throws bad-model - an input or output is no value of the model.
 *
 * Cost: O(nodes + initializers); no tensor is read.
 */
export function extractSubgraph(model: Model, ends: SubgraphEnds): Model {
  const { graph, from } = storedModelOf(model);
  const given = new Set(ends.inputs.map(({ name }) => name));
  for (const { name } of [...ends.inputs, ...ends.outputs]) {
    if (graph.defined.has(name)) continue;
    const file = from.label;
    const message = `Cannot cut a part out of "${file}": it has no value "${name}". Check the name.`;
    throw badModel(file, message, `value "${name}"`);
  }

  const needed = new Set<Node>();
  const values = new Set<string>();
  const pending = ends.outputs.map(({ name }) => name);
  for (let value = pending.pop(); value !== undefined; value = pending.pop()) {
    if (values.has(value)) continue;
    values.add(value);
    const node = given.has(value) ? undefined : graph.producer(value);
    if (!node || needed.has(node)) continue;
    needed.add(node);
    pending.push(...neededBy(node));
  }

  const editor = editModel(model);
  for (const { name } of graph.outputs) editor.removeOutput(name);
  for (const { name } of graph.inputs) editor.removeInput(name);
  for (const node of graph.nodes) {
    const isCut = node.outputs.some((value) => given.has(value));
    if (needed.has(node) && !isCut) continue;
    editor.removeNode(node.name);
    if (!needed.has(node)) continue;
    const rename = (value: string): string => (given.has(value) ? editor.uniqueName(value) : value);
    editor.addNodes([withOutputs(node, node.outputs.map(rename))]);
  }
  for (const name of graph.initializers.keys()) {
    if (!values.has(name) || given.has(name)) editor.removeInitializer(name);
  }
  for (const info of ends.inputs) editor.addInput(withoutNames(info));
  for (const info of graph.inputs) {
    if (values.has(info.name) && !given.has(info.name)) editor.addInput(withoutNames(info));
  }
  for (const info of ends.outputs) editor.addOutput(info);
  return editor.commit();
}

/**
 * A value that a part takes, as its input: element type and rank, sizes left open. Without the rank, shape inference
 * takes attention for one of another kind.
 *
 * @param known - a tensor that the value has been; undefined where nothing is known.
 */
export function partInput(
  name: string,
  known: { readonly dtype: DType; readonly shape: readonly unknown[] | undefined } | undefined,
): ValueInfo {
  return { name, dtype: known?.dtype, shape: known?.shape?.map(() => undefined) };
}

/**
 * Caches lose the names of their dimensions. GroupQueryAttention gives its present values the names of the past ones,
 * and where the graph does not return the present values, as a part does not, ONNX Runtime puts values of "equal" shape
 * into one buffer and fails.
 */
function withoutNames(info: ValueInfo): ValueInfo {
  if (namedRole(info) !== "cache") return info;
  const { name, dtype, shape } = info;
  return { name, dtype, shape: shape?.map((dim) => (typeof dim === "number" ? dim : undefined)) };
}

function withOutputs(node: Node, outputs: readonly string[]): NodeSpec {
  const { name, domain, opType, inputs } = node;
  const attributes = Object.fromEntries(node.attributes);
  return { name, domain, opType, inputs, outputs, attributes };
}
