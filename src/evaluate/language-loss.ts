/**
 * KL divergence, negative log-likelihood and top-1 agreement of a language model, per token, inside the graph.
 */
import { BitloomError } from "../core/errors.ts";
import type { FeedTensor } from "../core/feeds.ts";
import {
  attribute,
  createTap,
  editModel,
  findLogits,
  type Graph,
  type GraphTap,
  type Model,
} from "../onnx/index.ts";
import type { Loss } from "../runtime/index.ts";

const referenceInput = "bitloom_reference";
const targetsInput = "bitloom_targets";
/** A token masked with −∞ must add p·(log p − log q) = 0, not 0·∞; e^−1e4 is 0 in float32. */
const lowestLogProbability = -1e4;
/**
 * Least bytes of float32 logits that are compared at a time, at most twice as many: several values of that size exist
 * at once. Windows of more are compared in slices. Allocators give blocks of this size back to the system when they are
 * freed; glibc keeps smaller ones, which made 1.8 GB out of 1.1 GB with slices of half the size.
 */
const sliceBytes = 2 ** 25;
/** GatherElements picks the target's log-probability. */
const neededOpset = 11;

/**
 * Loss of next-token prediction: `KL(p ‖ q) = Σ_v p_v (log p_v − log q_v)` per token, p from the float model.
 *
 * Log-probabilities are clamped at −10⁴, so that tokens masked with −∞ add nothing.
 * Results per token: "kl" nats, "agree" 1 where both models rank the same token first; with targets "nll" and, of the
 * float model, "referenceNll", nats.
 * Memory: both models' logits, and slices of them.
 *
 * @param tokens - most tokens per window.
 * @throws unsupported - the graph has no logits, or imports an opset before 11.
 */
export function languageLoss(graph: Graph, tokens: number): Loss {
  const logits = findLogits(graph);
  if (!logits) {
    throw new BitloomError(
      "unsupported",
      `The graph has no output of next-token logits: expected a float output of shape [batch, tokens, vocabulary], got ${graph.outputs.map(({ name }) => `"${name}"`).join(", ")}.`,
      { what: "perplexity" },
    );
  }
  const vocabulary = logits.shape?.[2];
  const ranges = slicesOf(tokens, typeof vocabulary === "number" ? 4 * vocabulary : 0);
  // Sliced, log-probabilities of all tokens never exist: the reference are logits then.
  const isSliced = ranges.length > 1;
  return {
    kind: "language",
    unit: "nats per token",
    reference(model) {
      requireOpset(model);
      const editor = editModel(model);
      const tap = createTap(editor);
      const value = isSliced ? tap.toFloat(logits.name) : logProbabilities(tap, logits.name);
      tap.expose(value, "float32");
      return { model: editor.commit(), outputs: [value] };
    },
    compare(model, withTargets) {
      requireOpset(model);
      const editor = editModel(model);
      const tap = createTap(editor);
      editor.addInput({ name: referenceInput, dtype: "float32", shape: undefined });
      if (withTargets) editor.addInput({ name: targetsInput, dtype: "int64", shape: undefined });
      const slices = ranges.map((range) => {
        const slice = (value: string) => (isSliced ? sliceTokens(tap, value, range) : value);
        const reference = slice(referenceInput);
        return compareTokens(tap, {
          value: logProbabilities(tap, slice(logits.name)),
          reference: isSliced ? logProbabilities(tap, reference) : reference,
          targets: withTargets ? slice(targetsInput) : undefined,
        });
      });
      const output = (name: keyof TokenLosses) => {
        const values = slices.flatMap((slice) => slice[name] ?? []);
        const all =
          values.length > 1 ? tap.op("Concat", values, { axis: attribute.int(1) }) : values[0];
        return tap.output(name, all);
      };
      return {
        results: [
          output("kl"),
          output("agree"),
          ...(withTargets ? [output("nll"), output("referenceNll")] : []),
        ],
        model: editor.commit(),
        referenceInputs: [referenceInput],
        targetsInput: withTargets ? targetsInput : undefined,
      };
    },
    overall(results) {
      const tokens = results.map(({ kl }) => values(kl));
      const count = tokens.reduce((sum, kl) => sum + kl.length, 0);
      return tokens.reduce((sum, kl) => kl.reduce((all, value) => all + value, sum), 0) / count;
    },
  };
}

/** Values [batch, tokens] of some tokens. */
interface TokenLosses {
  readonly kl: string;
  readonly agree: string;
  readonly nll: string | undefined;
  readonly referenceNll: string | undefined;
}

function logProbabilities(tap: GraphTap, logits: string): string {
  const softmax = tap.op("LogSoftmax", [tap.toFloat(logits)], { axis: attribute.int(-1) });
  return tap.op("Max", [softmax, tap.float(lowestLogProbability)]);
}

/** @param given - log-probabilities [batch, tokens, vocabulary] of both models, next tokens [batch, tokens]. */
function compareTokens(
  tap: GraphTap,
  given: {
    readonly value: string;
    readonly reference: string;
    readonly targets: string | undefined;
  },
): TokenLosses {
  const { value, reference } = given;
  const difference = tap.op("Sub", [reference, value]);
  const weighted = tap.op("Mul", [tap.op("Exp", [reference]), difference]);
  const best = (scores: string) =>
    tap.op("ArgMax", [scores], { axis: attribute.int(-1), keepdims: attribute.int(0) });
  const nll = (scores: string) => {
    if (given.targets === undefined) return undefined;
    const index = tap.op("Reshape", [given.targets, tap.int64([0, 0, 1])]);
    const picked = tap.op("GatherElements", [scores, index], { axis: attribute.int(-1) });
    return tap.op("Neg", [tap.op("Reshape", [picked, tap.int64([0, -1])])]);
  };
  return {
    kl: tap.reduce("ReduceSum", weighted, [-1]),
    agree: tap.toFloat(tap.op("Equal", [best(value), best(reference)])),
    nll: nll(value),
    referenceNll: nll(reference),
  };
}

type Range = readonly [begin: number, end: number];

/** Tokens in ranges of about the same length, each with at least `sliceBytes` of logits where there are so many. */
function slicesOf(tokens: number, bytesPerToken: number): readonly Range[] {
  const count = Math.max(1, Math.min(tokens, Math.floor((tokens * bytesPerToken) / sliceBytes)));
  const cut = (index: number) => Math.floor((index * tokens) / count);
  // The last one takes what a longer window has beyond.
  return Array.from({ length: count }, (_, i) => [
    cut(i),
    i === count - 1 ? Number.MAX_SAFE_INTEGER : cut(i + 1),
  ]);
}

/** Tokens [begin, end) of a value [batch, tokens, …]. */
const sliceTokens = (tap: GraphTap, value: string, [begin, end]: Range) =>
  tap.op("Slice", [value, tap.int64([begin]), tap.int64([end]), tap.int64([1])]);

function requireOpset(model: Model): void {
  const opset = model.opsets.get("") ?? 1;
  if (opset >= neededOpset) return;
  throw new BitloomError(
    "unsupported",
    `Perplexity needs a model of opset ${neededOpset} or newer; this one imports ${opset}.`,
    { what: "perplexity" },
  );
}

/** The numbers of a float32 result. */
export function values(tensor: FeedTensor): Float32Array {
  return tensor.data as Float32Array;
}
