/**
 * Bare graphs for data tests: declared inputs, and nodes only where the vocabulary is looked up.
 */
import type { DType } from "../../../src/core/tensor.ts";
import type { Graph, Node, TensorSource, ValueInfo } from "../../../src/onnx/types.ts";

type Dims = readonly (number | string | undefined)[] | undefined;

export interface GraphSpec {
  readonly inputs: Readonly<Record<string, readonly [DType, Dims]>>;
  readonly outputs?: Readonly<Record<string, readonly [DType, Dims]>>;
  /** Name and shape of each initializer. */
  readonly initializers?: Readonly<Record<string, readonly number[]>>;
  readonly overridable?: readonly string[];
  /** [operator, inputs, output]. */
  readonly nodes?: readonly (readonly [string, readonly string[], string])[];
}

export function graphOf(spec: GraphSpec): Graph {
  const infos = (values: GraphSpec["inputs"]): ValueInfo[] =>
    Object.entries(values).map(([name, [dtype, shape]]) => ({ name, dtype, shape }));
  const inputs = infos(spec.inputs);
  const outputs = infos(spec.outputs ?? {});
  const nodes = (spec.nodes ?? []).map(
    ([opType, nodeInputs, output], index): Node => ({
      name: `${opType}_${index}`,
      domain: "",
      opType,
      inputs: nodeInputs,
      outputs: [output],
      attributes: new Map(),
    }),
  );
  const initializers = new Map(
    Object.entries(spec.initializers ?? {}).map(([name, shape]): [string, TensorSource] => [
      name,
      {
        name,
        dtype: "float32",
        shape,
        byteLength: 0,
        bytes: () => Promise.reject(new Error("not read here")),
      },
    ]),
  );
  return {
    name: "test",
    inputs,
    outputs,
    nodes,
    initializers,
    overridable: new Set(spec.overridable ?? []),
    valueInfo: (value) => [...inputs, ...outputs].find(({ name }) => name === value),
    producer: (value) => nodes.find((node) => node.outputs.includes(value)),
    uses: (value) =>
      nodes.flatMap((node) =>
        node.inputs.flatMap((name, index) => (name === value ? [{ node, index }] : [])),
      ),
    readInSubgraph: () => false,
  };
}

/** Ids only, [batch, sequence], with a table of `rows`. */
export function tinyLanguageModel(rows = 64): Graph {
  return graphOf({
    inputs: { input_ids: ["int64", ["batch", "sequence"]] },
    outputs: { logits: ["float32", ["batch", "sequence", rows]] },
    initializers: { table: [rows, 8] },
    nodes: [["Gather", ["table", "input_ids"], "embedded"]],
  });
}
