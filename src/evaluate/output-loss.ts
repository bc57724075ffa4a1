/**
 * How far every float output of any model is from the float model's: the loss of models that are no language model.
 */
import { BitloomError } from "../core/errors.ts";
import { createTap, editModel, type Graph } from "../onnx/index.ts";
import type { Loss } from "../runtime/index.ts";
import { values } from "./language-loss.ts";

/**
 * Relative squared error `Σ_outputs ‖ŷ − y‖² / ‖y‖²`, both norms over all data.
 *
 * Results: one vector per output, named as the output with "terms of " before it: ‖ŷ − y‖², ‖y‖², ŷ·y, ‖ŷ‖².
 *
 * @throws unsupported - the graph has no float output.
 */
export function outputLoss(graph: Graph): Loss {
  const outputs = graph.outputs.filter(({ dtype }) =>
    ["float32", "float16", "bfloat16", "float64"].includes(dtype ?? ""),
  );
  if (outputs.length === 0) {
    throw new BitloomError("unsupported", "The graph has no float output to compare.", {
      what: "evaluation",
    });
  }
  return {
    kind: "outputs",
    unit: "relative squared error",
    reference(model) {
      const editor = editModel(model);
      const tap = createTap(editor);
      const exposed = outputs.map(({ name }) => tap.expose(tap.toFloat(name), "float32"));
      return { model: editor.commit(), outputs: exposed };
    },
    compare(model) {
      const editor = editModel(model);
      const tap = createTap(editor);
      const referenceInputs = outputs.map((_, i) => `bitloom_reference_${i}`);
      const results = outputs.map(({ name }, i) => {
        editor.addInput({ name: referenceInputs[i], dtype: "float32", shape: undefined });
        const value = tap.toFloat(name);
        const terms = [
          tap.reduce("ReduceSumSquare", tap.op("Sub", [value, referenceInputs[i]])),
          tap.reduce("ReduceSumSquare", referenceInputs[i]),
          tap.reduce("ReduceSum", tap.op("Mul", [value, referenceInputs[i]])),
          tap.reduce("ReduceSumSquare", value),
        ];
        return tap.output(termsOf(name), tap.concatenateScalars(terms));
      });
      return { model: editor.commit(), referenceInputs, targetsInput: undefined, results };
    },
    overall(results) {
      return outputs.reduce((total, { name }) => {
        const terms = results.map((result) => values(result[termsOf(name)]));
        const error = terms.reduce((sum, [own]) => sum + own, 0);
        const power = terms.reduce((sum, [, own]) => sum + own, 0);
        return total + (power > 0 ? error / power : 0);
      }, 0);
    },
  };
}

/** Name of the result that holds an output's error terms. */
export const termsOf = (output: string) => `terms of ${output}`;
