/**
 * Operators that read or change the shape alone: Shape, Size, Reshape, Squeeze, Unsqueeze, Flatten, Identity.
 * Invariant: those that pass the numbers on are aliases and cost nothing at run time.
 */
import { elementCount } from "../../../core/tensor.ts";
import type { InferInput, Operator, OperatorNode } from "../../session/operator.ts";
import {
  axesOf,
  axisOf,
  intAttribute,
  intsAttribute,
  intsOf,
  product,
  required,
} from "./attributes.ts";

type Inputs = readonly (InferInput | undefined)[];

/** An operator whose output 0 is input 0 with another shape. */
function alias(shapeOf: (node: OperatorNode, inputs: Inputs) => readonly number[]): Operator {
  return {
    alias: true,
    infer(node, inputs) {
      const { dtype, shape } = required(inputs, 0);
      const result = shapeOf(node, inputs);
      if (elementCount(result) !== elementCount(shape)) {
        throw new RangeError(`[${shape.join(", ")}] cannot become [${result.join(", ")}]`);
      }
      return [{ dtype, shape: result }];
    },
  };
}

function reshaped(node: OperatorNode, inputs: Inputs): readonly number[] {
  const { shape } = required(inputs, 0);
  const wanted = intsAttribute(node, "shape") ?? intsOf(inputs, 1) ?? [];
  const keepsZero = intAttribute(node, "allowzero", 0) !== 0;
  const result = wanted.map((size, axis) => (size === 0 && !keepsZero ? (shape[axis] ?? 0) : size));
  const free = result.indexOf(-1);
  if (free >= 0) {
    const rest = product(result.filter((_, axis) => axis !== free));
    result[free] = rest === 0 ? 0 : elementCount(shape) / rest;
    if (!Number.isInteger(result[free])) {
      throw new RangeError(`[${shape.join(", ")}] cannot become [${wanted.join(", ")}]`);
    }
  }
  return result;
}

function squeezed(node: OperatorNode, inputs: Inputs): readonly number[] {
  const { shape } = required(inputs, 0);
  const axes = axesOf(node, inputs, 1)?.map((axis) => axisOf(axis, shape.length));
  // An empty list is no list, as in ONNX Runtime.
  return shape.filter((size, axis) => (axes?.length ? !axes.includes(axis) : size !== 1));
}

function unsqueezed(node: OperatorNode, inputs: Inputs): readonly number[] {
  const { shape } = required(inputs, 0);
  const axes = axesOf(node, inputs, 1) ?? [];
  const rank = shape.length + axes.length;
  const added = new Set(axes.map((axis) => axisOf(axis, rank)));
  const sizes = [...shape];
  return Array.from({ length: rank }, (_, axis) => (added.has(axis) ? 1 : (sizes.shift() ?? 1)));
}

function flattened(node: OperatorNode, inputs: Inputs): readonly number[] {
  const { shape } = required(inputs, 0);
  const given = intAttribute(node, "axis", 1);
  const axis = given < 0 ? given + shape.length : given;
  return [product(shape.slice(0, axis)), product(shape.slice(axis))];
}

/** The part of the shape that opset 15 lets a node ask for. */
function shapePart(node: OperatorNode, shape: readonly number[]): readonly number[] {
  const end = node.attributes.get("end");
  return shape.slice(
    intAttribute(node, "start", 0),
    end?.type === "int" ? end.value : shape.length,
  );
}

export const shape: Operator = {
  readsTypesOnly: true,
  infer: (node, inputs) => [
    { dtype: "int64", shape: [shapePart(node, required(inputs, 0).shape).length] },
  ],
  compute(node, inputs, outputs) {
    const part = shapePart(node, required(inputs, 0).shape);
    outputs[0]?.data.set(part);
  },
};

export const size: Operator = {
  readsTypesOnly: true,
  infer: () => [{ dtype: "int64", shape: [] }],
  compute: (_, inputs, outputs) => outputs[0]?.data.set([elementCount(required(inputs, 0).shape)]),
};

export const reshape = alias(reshaped);
export const squeeze = alias(squeezed);
export const unsqueeze = alias(unsqueezed);
export const flatten = alias(flattened);
export const identity = alias((_, inputs) => required(inputs, 0).shape);

/** Without a mask Dropout passes its input on: training is not what this runtime is for. */
export const dropout: Operator = {
  ...identity,
  refuses({ inputs, outputs }, context) {
    if ((outputs[1] ?? "") !== "") return "gives the mask of a dropout";
    // A constant is false in every file that is not for training.
    return (inputs[2] ?? "") === "" || context.isConstant(2) ? undefined : "may drop elements";
  },
};
