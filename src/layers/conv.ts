/**
 * Conv over one to three axes: the file stores kernels [N, channels / groups, ...kernel], which is W [N, K] as it lies
 * in memory. Bias stays with the node.
 */
import type { ConvWindow } from "../core/layer.ts";
import type { Node } from "../onnx/index.ts";
import { isFixed, resolveConstant } from "./constant.ts";
import { intAttribute, intsAttribute, type LayerKind } from "./kind.ts";

export const conv: LayerKind = {
  opType: "Conv",
  summary: "Conv with constant kernels, grouped and depthwise too; unpacked in front of the node",
  match(node, graph) {
    const weight = resolveConstant(graph, node.inputs[1], "kernels");
    if (!weight) return { skipped: "its weight is computed at run time" };
    if ("skipped" in weight) return weight;
    if (isFixed(graph, node.inputs[0])) return { skipped: "both operands are constant" };
    const [outputs, , ...kernel] = weight.tensor.shape;
    const window = windowOf(node, kernel);
    if (outputs % window.groups !== 0) {
      return {
        skipped: `its ${outputs} output channels are no multiple of ${window.groups} groups`,
      };
    }
    return {
      use: {
        node: node.name,
        opType: "Conv",
        activation: node.inputs[0],
        output: node.outputs[0],
        dtype: weight.dtype,
        window,
      },
      weight,
      position: 1,
      storedTransposed: false,
    };
  },
};

function windowOf(node: Node, kernel: readonly number[]): ConvWindow {
  const each = (value: number) => kernel.map(() => value);
  return {
    groups: intAttribute(node, "group", 1),
    kernel,
    strides: intsAttribute(node, "strides") ?? each(1),
    dilations: intsAttribute(node, "dilations") ?? each(1),
    padding: paddingOf(node, kernel.length),
  };
}

function paddingOf(node: Node, axes: number): ConvWindow["padding"] {
  const mode = node.attributes.get("auto_pad");
  if (mode?.type === "string" && mode.value === "SAME_UPPER") return "same-upper";
  if (mode?.type === "string" && mode.value === "SAME_LOWER") return "same-lower";
  // VALID means no padding, which is what a node without pads has.
  const isValid = mode?.type === "string" && mode.value === "VALID";
  const pads = isValid ? undefined : intsAttribute(node, "pads");
  const zeros = new Array<number>(axes).fill(0);
  return { before: pads?.slice(0, axes) ?? zeros, after: pads?.slice(axes) ?? zeros };
}
