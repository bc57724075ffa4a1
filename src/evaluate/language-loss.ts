/**
 * KL divergence, negative log-likelihood and top-1 agreement of a language model, per token, inside the graph.
 */
import { BitloomError } from "../core/errors.ts";
import type { FeedTensor } from "../core/feeds.ts";
import {
  attribute,
  createTap,
  editModel,
  type Graph,
  type Model,
  type ValueInfo,
} from "../onnx/index.ts";
import type { Loss } from "../runtime/index.ts";

const referenceInput = "bitloom_reference";
const targetsInput = "bitloom_targets";
/** A token masked with −∞ must add p·(log p − log q) = 0, not 0·∞; e^−1e4 is 0 in float32. */
const lowestLogProbability = -1e4;
/** GatherElements picks the target's log-probability. */
const neededOpset = 11;

/**
 * The output that holds next-token logits [batch, tokens, vocabulary]: the float output of rank 3 called "logits" or
 * like it, or the only float output of rank 3. Undefined when the graph has none.
 */
export function findLogits(graph: Graph): ValueInfo | undefined {
  const floats = ["float32", "float16", "bfloat16"];
  const candidates = graph.outputs.filter(
    ({ dtype, shape }) => floats.includes(dtype ?? "") && shape?.length === 3,
  );
  return (
    candidates.find(({ name }) => name === "logits") ??
    candidates.find(({ name }) => /logits/i.test(name)) ??
    (candidates.length === 1 ? candidates[0] : undefined)
  );
}

/**
 * Loss of next-token prediction: `KL(p ‖ q) = Σ_v p_v (log p_v − log q_v)` per token, p from the float model.
 *
 * Log-probabilities are clamped at −10⁴, so that tokens masked with −∞ add nothing.
 * Results per token: "kl" nats, "nll" nats (with targets), "agree" 1 where both models rank the same token first.
 *
 * @throws unsupported - the graph has no logits, or imports an opset before 11.
 */
export function languageLoss(graph: Graph): Loss {
  const logits = findLogits(graph);
  if (!logits) {
    throw new BitloomError(
      "unsupported",
      `The graph has no output of next-token logits: expected a float output of shape [batch, tokens, vocabulary], got ${graph.outputs.map(({ name }) => `"${name}"`).join(", ")}.`,
      { what: "perplexity" },
    );
  }
  const logProbabilities = (model: Model) => {
    const opset = model.opsets.get("") ?? 1;
    if (opset < neededOpset) {
      throw new BitloomError(
        "unsupported",
        `Perplexity needs a model of opset ${neededOpset} or newer; this one imports ${opset}.`,
        { what: "perplexity" },
      );
    }
    const editor = editModel(model);
    const tap = createTap(editor);
    const softmax = tap.op("LogSoftmax", [tap.toFloat(logits.name)], { axis: attribute.int(-1) });
    const value = tap.op("Max", [softmax, tap.float(lowestLogProbability)]);
    return { editor, tap, value };
  };
  return {
    kind: "language",
    unit: "nats per token",
    reference(model) {
      const { editor, tap, value } = logProbabilities(model);
      tap.expose(value, "float32");
      return { model: editor.commit(), outputs: [value] };
    },
    compare(model, withTargets) {
      const { editor, tap, value } = logProbabilities(model);
      editor.addInput({ name: referenceInput, dtype: "float32", shape: undefined });
      const difference = tap.op("Sub", [referenceInput, value]);
      const weighted = tap.op("Mul", [tap.op("Exp", [referenceInput]), difference]);
      const best = (scores: string) =>
        tap.op("ArgMax", [scores], { axis: attribute.int(-1), keepdims: attribute.int(0) });
      const agree = tap.op("Equal", [best(value), best(referenceInput)]);
      const results = [
        tap.output("kl", tap.reduce("ReduceSum", weighted, [-1])),
        tap.output("agree", tap.toFloat(agree)),
      ];
      if (withTargets) {
        editor.addInput({ name: targetsInput, dtype: "int64", shape: undefined });
        const index = tap.op("Reshape", [targetsInput, tap.int64([0, 0, 1])]);
        const picked = tap.op("GatherElements", [value, index], { axis: attribute.int(-1) });
        results.push(
          tap.output("nll", tap.op("Neg", [tap.op("Reshape", [picked, tap.int64([0, -1])])])),
        );
      }
      return {
        model: editor.commit(),
        referenceInputs: [referenceInput],
        targetsInput: withTargets ? targetsInput : undefined,
        results,
      };
    },
    overall(results) {
      const tokens = results.map(({ kl }) => values(kl));
      const count = tokens.reduce((sum, kl) => sum + kl.length, 0);
      return tokens.reduce((sum, kl) => kl.reduce((all, value) => all + value, sum), 0) / count;
    },
  };
}

/** The numbers of a float32 result. */
export function values(tensor: FeedTensor): Float32Array {
  return tensor.data as Float32Array;
}
