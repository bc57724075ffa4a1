/**
 * What each kind of layer tells about a node: which input is the weight, and how it is oriented.
 */
import type { LayerUse } from "../core/layer.ts";
import type { Graph, Node } from "../onnx/index.ts";
import type { ConstantWeight } from "./constant.ts";

/** A node as a use of a weight. */
export interface LayerMatch {
  readonly use: LayerUse;
  readonly weight: ConstantWeight;
  /** Which input of the node the weight is. */
  readonly position: number;
  /** True when W [N, K] is the transpose of the stored tensor. */
  readonly storedTransposed: boolean;
}

/** Tells of a node whether it is a layer of this kind. */
export interface LayerKind {
  readonly opType: string;
  readonly summary: string;
  /** The node as a use of a weight, or why it is none. */
  match(node: Node, graph: Graph): LayerMatch | { readonly skipped: string };
}

/** The integer value of an attribute, or `fallback` when the node leaves it out. */
export function intAttribute(node: Node, name: string, fallback: number): number {
  const attribute = node.attributes.get(name);
  return attribute?.type === "int" ? attribute.value : fallback;
}

/** The integer values of an attribute, or undefined when the node leaves it out. */
export function intsAttribute(node: Node, name: string): readonly number[] | undefined {
  const attribute = node.attributes.get(name);
  return attribute?.type === "ints" ? attribute.value : undefined;
}
