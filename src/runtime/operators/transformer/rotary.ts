/**
 * RotaryEmbedding of opset 23 and of the contrib domain, and the rotary nodes that fusions make.
 */
import { contiguousStrides, type RotaryShape } from "../../../../native/index.ts";
import type { Operator, OperatorNode, TensorType } from "../../session/operator.ts";
import { floatAttribute, intAttribute, product, required } from "../tensor/attributes.ts";
import { flatHeads, type Heads, splitHeads } from "./heads.ts";
import { type Block, machineOperator } from "./machine.ts";

interface RotaryInputs {
  readonly ids: number;
  readonly cos: number;
  readonly sin: number;
}

/** Where the operators keep their inputs. */
const microsoftInputs: RotaryInputs = { ids: 1, cos: 2, sin: 3 };
const standardInputs: RotaryInputs = { ids: 3, cos: 1, sin: 2 };

function headsOf(node: OperatorNode, x: Block, cos: TensorType): Heads {
  if (x.shape.length === 4) return splitHeads(x);
  const count = intAttribute(node, "num_heads", 0);
  // Without a count, the tables tell the head's size.
  return flatHeads(x, count > 0 ? count : (x.shape.at(-1) ?? 0) / (2 * (cos.shape.at(-1) ?? 1)));
}

function rotaryShape(
  node: OperatorNode,
  at: RotaryInputs,
  inputs: readonly (Block | undefined)[],
): RotaryShape {
  const cos = required(inputs, at.cos);
  const ids = inputs[at.ids];
  const x = headsOf(node, required(inputs, 0), cos);
  const { batch, rows, heads, size, strides } = x;
  const rotarySize = intAttribute(node, "rotary_embedding_dim", 0) || size;
  const half = rotarySize / 2;
  if (cos.shape.at(-1) !== half) {
    throw new RangeError(`tables of ${cos.shape.at(-1)} angles for heads that turn ${rotarySize}`);
  }
  if (ids && product(ids.shape) !== 1 && product(ids.shape) !== batch * rows) {
    throw new RangeError(`position ids [${ids.shape.join(", ")}] for ${batch} × ${rows} tokens`);
  }
  const perToken = ids === undefined;
  const isFirst = ids !== undefined && ids.shape.length < 2;
  return {
    batch,
    rows,
    heads,
    headSize: size,
    rotarySize,
    interleaved: intAttribute(node, "interleaved", 0) === 1,
    x: strides,
    out: strides,
    ids: perToken ? "none" : isFirst ? "first" : "each",
    cacheRows: perToken ? rows : cos.shape[0],
    cacheRow: half,
    cacheBatch: perToken && cos.shape[0] > 1 ? rows * half : 0,
  };
}

function rotaryOperator(at: RotaryInputs): Operator {
  return {
    ...machineOperator({
      others: [at.ids],
      refuses: (node) => {
        if (intAttribute(node, "is_packed_batching", 0)) return "packed batches";
        return floatAttribute(node, "scale", 1) === 1 ? undefined : "a scale";
      },
      infer(node, inputs) {
        const x = required(inputs, 0);
        const blocks = inputs.map((input) => input && { ...input, pointer: 0 });
        if (product(x.shape) > 0) rotaryShape(node, at, blocks);
        return [{ dtype: x.dtype, shape: x.shape }];
      },
      work(machine, node, inputs, outputs) {
        const x = required(inputs, 0);
        if (product(x.shape) === 0) return;
        const ids = inputs[at.ids];
        const places = {
          x: { block: x },
          out: { block: required(outputs, 0) },
          cos: { block: required(inputs, at.cos) },
          sin: { block: required(inputs, at.sin) },
          ids: ids && { block: ids },
        };
        machine.rotate(rotaryShape(node, at, inputs), places);
      },
    }),
    inPlace: [0],
  };
}

/**
 * x [a, b, c, …] turned by cos and sin, which broadcast to it: "half" pairs i with half + i of the last axis and reads
 * the first half of the tables; "interleaved" pairs the two elements of the last axis.
 */
function fusedShape(node: OperatorNode, x: TensorType, cos: TensorType): RotaryShape {
  const interleaved = intAttribute(node, "interleaved", 0) === 1;
  const merged = interleaved ? [...x.shape.slice(0, -2), 2 * (x.shape.at(-2) ?? 1)] : x.shape;
  const size = merged.at(-1) ?? 1;
  const half = intAttribute(node, "half", 0) || size / 2;
  if (size !== 2 * half || merged.length > 4) {
    throw new RangeError(`heads of ${size} elements turn by halves of ${half}`);
  }
  const [d0, d1, d2] = [1, 1, 1, ...merged.slice(0, -1)].slice(-3);
  const table = [1, 1, 1, 1, ...cos.shape].slice(-4);
  const width = table[3];
  if (cos.shape.length > 4 || (width !== half && width !== size)) {
    throw new RangeError(`tables of ${width} angles for halves of ${half}`);
  }
  const strides = contiguousStrides(table);
  const step = (axis: number) => (table[axis] === 1 ? 0 : strides[axis]);
  const fits = [d0, d1, d2].every((count, axis) => [1, count].includes(table[axis]));
  if (!fits) throw new RangeError(`tables [${cos.shape.join(", ")}] for [${x.shape.join(", ")}]`);
  const own = contiguousStrides([d0, d1, d2, size]);
  // Heads are the axis along which the tables repeat.
  const headAxis = table[2] === 1 ? 2 : 1;
  const rowAxis = headAxis === 2 ? 1 : 2;
  if (table[headAxis] !== 1) throw new RangeError("tables that differ from head to head");
  const layout = { batch: own[0], head: own[headAxis], row: own[rowAxis] };
  const rows = [d0, d1, d2][rowAxis];
  return {
    batch: d0,
    rows,
    heads: [d0, d1, d2][headAxis],
    headSize: size,
    interleaved,
    x: layout,
    out: layout,
    cacheRows: rows,
    cacheRow: step(rowAxis),
    cacheBatch: step(0),
  };
}

const fusedRotary: Operator = {
  ...machineOperator({
    infer(node, inputs) {
      const x = required(inputs, 0);
      fusedShape(node, x, required(inputs, 1));
      return [{ dtype: x.dtype, shape: x.shape }];
    },
    work(machine, node, inputs, outputs) {
      const x = required(inputs, 0);
      if (product(x.shape) === 0) return;
      const shape = fusedShape(node, x, required(inputs, 1));
      const cos = { block: required(inputs, 1) };
      const sin = { block: required(inputs, 2) };
      machine.rotate(shape, { x: { block: x }, out: { block: required(outputs, 0) }, cos, sin });
    },
  }),
  inPlace: [0],
};

export const rotaryOperators: Readonly<Record<string, Operator>> = {
  RotaryEmbedding: rotaryOperator(standardInputs),
  "com.microsoft::RotaryEmbedding": rotaryOperator(microsoftInputs),
  "bitloom.internal::Rotary": fusedRotary,
};
