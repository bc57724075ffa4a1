/**
 * Attention of the contrib domain projects its input itself; as a product, a bias and an attention of what comes out,
 * the product runs on packed weights.
 */
import {
  projectedAttention,
  refusesAttention,
} from "../operators/transformer/attention-contrib.ts";
import { internalDomain, type NodeGraph } from "../session/node-graph.ts";

export function attentionProjection(graph: NodeGraph): void {
  for (const node of graph.nodes) {
    const { domain, opType, name, inputs, outputs, attributes } = node;
    if (domain !== "com.microsoft" || opType !== "Attention" || refusesAttention(node)) continue;
    const [x, weights, bias, mask = "", past = "", added = ""] = inputs;
    const product = graph.uniqueName(`${outputs[0]}_product`);
    const packed = bias ? graph.uniqueName(`${outputs[0]}_packed`) : product;
    graph.replace(
      [node],
      [
        {
          opType: "MatMul",
          domain: "",
          name: `${name}/product`,
          inputs: [x, weights],
          outputs: [product],
        },
        ...(bias
          ? [
              {
                opType: "Add",
                domain: "",
                name: `${name}/bias`,
                inputs: [product, bias],
                outputs: [packed],
              },
            ]
          : []),
        {
          opType: projectedAttention,
          domain: internalDomain,
          name,
          inputs: [packed, mask, past, added],
          outputs,
          attributes: Object.fromEntries(attributes),
        },
      ],
    );
  }
}
