/** Constants of a graph, wherever the file keeps them. */
import type { Graph, TensorSource } from "./types.ts";

/** The tensor that an initializer or a Constant node holds under this value name. */
export function storedConstant(graph: Graph, value: string): TensorSource | undefined {
  const initializer = graph.initializers.get(value);
  if (initializer) return initializer;
  const producer = graph.producer(value);
  if (producer?.opType !== "Constant" || producer.domain !== "") return undefined;
  const attribute = producer.attributes.get("value");
  return attribute?.type === "tensor" ? attribute.value : undefined;
}
