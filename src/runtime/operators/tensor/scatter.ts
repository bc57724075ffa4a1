/** ScatterND and ScatterElements: updates written at indices into a copy of the data. */
import { contiguousStrides } from "../../../../native/index.ts";
import type { Operator, OperatorNode } from "../../session/operator.ts";
import type { HostTensor } from "../../session/storage.ts";
import { product, required } from "./attributes.ts";
import { axisIn, checkElementIds, indexOf } from "./gather.ts";

type Combine = (old: number, value: number) => number;

/** How an update meets what is there. */
function combination(node: OperatorNode): Combine {
  const reduction = node.attributes.get("reduction");
  switch (reduction?.type === "string" ? reduction.value : "none") {
    case "add":
      return (old, value) => old + value;
    case "mul":
      return (old, value) => old * value;
    case "max":
      return Math.max;
    case "min":
      return Math.min;
    default:
      return (_, value) => value;
  }
}

/** What a node scatters: `write` puts update number `from` at element `to` of the output. */
interface Scatter {
  readonly node: OperatorNode;
  readonly shape: readonly number[];
  readonly ids: HostTensor;
  readonly write: (to: number, from: number) => void;
}

type Shape = readonly number[];

/**
 * An operator that starts from a copy of the data.
 *
 * @param updatesOf - the shape that the updates must have.
 */
const scattering = (
  updatesOf: (node: OperatorNode, shape: Shape, ids: Shape) => Shape,
  scatter: (given: Scatter) => void,
): Operator => ({
  inPlace: [0],
  infer(node, inputs) {
    const { dtype, shape } = required(inputs, 0);
    const wanted = updatesOf(node, shape, required(inputs, 1).shape).join(", ");
    const got = required(inputs, 2).shape.join(", ");
    if (got !== wanted) throw new RangeError(`updates [${got}] where [${wanted}] belong`);
    return [{ dtype, shape }];
  },
  compute(node, inputs, outputs) {
    const { shape, data } = required(inputs, 0);
    const ids = required(inputs, 1);
    const updates = required(inputs, 2).data;
    const output = required(outputs, 0).data;
    output.set(data);
    const combine = combination(node);
    const write = (to: number, from: number) => {
      output[to] = combine(output[to], updates[from]);
    };
    scatter({ node, shape, ids, write });
  },
});

function sliceUpdates(_: OperatorNode, shape: Shape, ids: Shape): Shape {
  const depth = ids.at(-1) ?? 0;
  if (depth <= shape.length) return [...ids.slice(0, -1), ...shape.slice(depth)];
  throw new RangeError(`indices of ${depth} numbers into ${shape.length} dimensions`);
}

export const scatterND = scattering(sliceUpdates, ({ node, shape, ids, write }) => {
  const depth = ids.shape.at(-1) ?? 0;
  const strides = contiguousStrides(shape);
  const inner = product(shape.slice(depth));
  const rows = product(ids.shape.slice(0, -1));
  for (let row = 0; row < rows; row++) {
    let to = 0;
    for (let k = 0; k < depth; k++) {
      to += strides[k] * indexOf(node, ids.data[row * depth + k], shape[k]);
    }
    for (let i = 0; i < inner; i++) write(to + i, row * inner + i);
  }
});

function elementUpdates(node: OperatorNode, shape: Shape, ids: Shape): Shape {
  checkElementIds(ids, shape, axisIn(node, shape));
  return ids;
}

export const scatterElements = scattering(elementUpdates, ({ node, shape, ids, write }) => {
  const axis = axisIn(node, shape);
  const strides = contiguousStrides(shape);
  const index = ids.shape.map(() => 0);
  for (let at = 0; at < ids.data.length; at++) {
    let to = 0;
    for (let k = 0; k < index.length; k++) {
      to += strides[k] * (k === axis ? indexOf(node, ids.data[at], shape[axis]) : index[k]);
    }
    write(to, at);
    for (let k = index.length - 1; k >= 0; k--) {
      if (++index[k] < ids.shape[k]) break;
      index[k] = 0;
    }
  }
});
