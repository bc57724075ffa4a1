/** cos(vec(h_in), vec(h_out)) of the layer's transformer block over all rows: what LIM is made of. */
import { addUp, type Statistic } from "../statistic.ts";

export const blockCosine: Statistic<"blockCosine"> = {
  summary: "cosine between input and output of the layer's transformer block",
  probes(layer, { blocks }) {
    const block = blocks.find(({ layers }) => layers.includes(layer.id));
    if (!block) return [];
    return [
      {
        key: block.name,
        emit(tap) {
          const [input, output] = [tap.toFloat(block.input), tap.toFloat(block.output)];
          const terms = [
            tap.reduce("ReduceSum", tap.op("Mul", [input, output])),
            tap.reduce("ReduceSumSquare", input),
            tap.reduce("ReduceSumSquare", output),
          ];
          return tap.concatenateScalars(terms);
        },
        merge: addUp,
      },
    ];
  },
  finish([[dot, inputPower, outputPower]]) {
    const norms = Math.sqrt(inputPower * outputPower);
    return norms === 0 ? 0 : dot / norms;
  },
};
