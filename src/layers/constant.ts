/**
 * Follows a value back to the constant tensor it comes from: initializer or Constant node, through Identity, Cast
 * between floats, and Transpose of a matrix. Not here: what a node does with it.
 */
import type { FloatType } from "../core/layer.ts";
import { type DType, dtypeFromCode } from "../core/tensor.ts";
import { type Graph, type Node, storedConstant, type TensorSource } from "../onnx/index.ts";

export interface ConstantMatrix {
  /** Value name of the stored tensor. */
  readonly root: string;
  readonly tensor: TensorSource;
  /** True when the value is the transpose of what is stored. */
  readonly transposed: boolean;
  /** Element type after the casts. */
  readonly dtype: FloatType;
  readonly path: readonly Node[];
}

const floats: readonly DType[] = ["float32", "float16", "bfloat16"];
const isFloat = (dtype: DType | undefined): dtype is FloatType =>
  dtype !== undefined && floats.includes(dtype);

/**
 * @returns the constant behind `value`; a reason when it is constant but cannot be a weight matrix; undefined when
 *   it is computed from the graph's inputs.
 */
export function resolveConstant(
  graph: Graph,
  value: string,
): ConstantMatrix | { readonly skipped: string } | undefined {
  const path: Node[] = [];
  let transposed = false;
  let castTo: DType | undefined;
  for (let current = value; ; ) {
    const tensor = storedConstant(graph, current);
    if (tensor) {
      const dtype = castTo ?? tensor.dtype;
      if (!isFloat(tensor.dtype) || !isFloat(dtype)) {
        return { skipped: `its weight "${current}" is ${tensor.dtype}, not a float` };
      }
      if (tensor.shape.length !== 2) {
        return { skipped: `its weight "${current}" has ${tensor.shape.length} dimensions, not 2` };
      }
      if (tensor.shape.some((dim) => dim === 0))
        return { skipped: `its weight "${current}" is empty` };
      return { root: current, tensor, transposed, dtype, path };
    }
    const node = graph.producer(current);
    if (!node) return undefined;
    if (node.opType === "Transpose" && node.domain === "") {
      const permutation = node.attributes.get("perm");
      const order = permutation?.type === "ints" ? permutation.value.join() : "1,0";
      if (order === "1,0") transposed = !transposed;
      else if (order !== "0,1") return undefined;
    } else if (node.opType === "Cast" && node.domain === "") {
      const to = node.attributes.get("to");
      // The cast nearest to the use decides the type the use sees.
      castTo ??= to?.type === "int" ? dtypeFromCode(to.value) : undefined;
    } else if (node.opType === "DequantizeLinear" && storedConstant(graph, node.inputs[0])) {
      return { skipped: "its weight is already quantized (DequantizeLinear)" };
    } else if (node.opType !== "Identity") {
      return undefined;
    }
    path.push(node);
    current = node.inputs[0];
  }
}
