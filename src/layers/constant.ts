/**
 * Follows a value back to the constant tensor it comes from: initializer or Constant node, through Identity, Cast
 * between floats, and Transpose of a matrix. Not here: what a node does with it.
 */
import type { FloatType } from "../core/layer.ts";
import { type DType, dtypeFromCode } from "../core/tensor.ts";
import { type Graph, type Node, storedConstant, type TensorSource } from "../onnx/index.ts";

/** A matrix; or the kernels of a convolution, whose first axis counts its outputs. */
export interface ConstantWeight {
  /** Value name of the stored tensor. */
  readonly root: string;
  readonly tensor: TensorSource;
  /** True when the value is the transpose of what is stored. */
  readonly transposed: boolean;
  /** Element type after the casts. */
  readonly dtype: FloatType;
  readonly path: readonly Node[];
}

/** True for a stored tensor that no caller can override. */
export function isFixed(graph: Graph, value: string): boolean {
  return storedConstant(graph, value) !== undefined && !graph.overridable.has(value);
}

const floats: readonly DType[] = ["float32", "float16", "bfloat16"];
const isFloat = (dtype: DType | undefined): dtype is FloatType =>
  dtype !== undefined && floats.includes(dtype);

/** Two dimensions, or those of a convolution over one to three axes. */
type WeightRank = "matrix" | "kernels";

/**
 * @param rank - what the use can read.
 * @returns the constant behind `value`; a reason when it is constant but cannot be a weight matrix; undefined when
 *   it is computed from the graph's inputs.
 */
export function resolveConstant(
  graph: Graph,
  value: string,
  rank: WeightRank = "matrix",
): ConstantWeight | { readonly skipped: string } | undefined {
  const path: Node[] = [];
  let transposed = false;
  let castTo: FloatType | undefined;
  for (let current = value; ; ) {
    const tensor = storedConstant(graph, current);
    if (tensor) {
      const weight = `its weight "${current}"`;
      if (!isFloat(tensor.dtype)) {
        return { skipped: `${weight} is ${tensor.dtype}; expected ${floats.join(", ")}` };
      }
      const { length } = tensor.shape;
      if (rank === "matrix" && length !== 2) {
        return { skipped: `${weight} has ${length} dimensions, not 2` };
      }
      if (rank === "kernels" && (length < 3 || length > 5)) {
        return { skipped: `${weight} has ${length} dimensions; expected 3 to 5` };
      }
      if (rank === "kernels" && path.some(({ opType }) => opType === "Transpose")) {
        return { skipped: `${weight} is behind a Transpose` };
      }
      if (tensor.shape.includes(0)) return { skipped: `${weight} is empty` };
      return { root: current, tensor, transposed, dtype: castTo ?? tensor.dtype, path };
    }
    const node = graph.producer(current);
    if (!node) return undefined;
    if (node.opType === "DequantizeLinear" && storedConstant(graph, node.inputs[0])) {
      return { skipped: "its weight is already quantized (DequantizeLinear)" };
    }
    if (node.domain !== "") return undefined;
    if (node.opType === "Cast") {
      const to = node.attributes.get("to");
      const dtype = to?.type === "int" ? dtypeFromCode(to.value) : undefined;
      // Through integers the cast rounds: the stored matrix is not what the use sees.
      if (!isFloat(dtype)) return undefined;
      // The cast nearest to the use decides the type the use sees.
      castTo ??= dtype;
    } else if (node.opType === "Transpose") {
      // Other permutations are those of tensors that are no matrix, which the stored shape tells.
      if (permutation(node) !== "0,1") transposed = !transposed;
    } else if (node.opType !== "Identity") {
      return undefined;
    }
    path.push(node);
    current = node.inputs[0];
  }
}

/** The order of the axes, for a matrix "1,0" when the attribute is left out. */
function permutation(node: Node): string {
  const order = node.attributes.get("perm");
  return order?.type === "ints" ? order.value.join() : "1,0";
}
