/**
 * The quantize stage: one weight matrix and a format in, codes and scales out.
 * A new quantizer is one file and one line in `quantizers`.
 */
import { BitloomError, invariant } from "../core/errors.ts";
import type { QuantizeInput, Quantizer } from "../core/method.ts";
import type { QuantizedTensor } from "../core/quantized.ts";
import { gptq } from "./gptq.ts";
import { hqq } from "./hqq.ts";
import { quantizeGroups } from "./row-groups.ts";
import { rtn } from "./rtn.ts";

export type { QuantizeInput, QuantizeOptions, Quantizer } from "../core/method.ts";
export { scaleTypeFor } from "./scale-type.ts";

/** Registered quantizers; the key is the file name. */
export const quantizers = { rtn, gptq, hqq } satisfies Record<string, Quantizer>;

/** Name of a registered quantizer. */
export type QuantizerName = keyof typeof quantizers;

/** The quantizer with a name, or the user's own object. Throws `bad-option` for an unknown name. */
export function resolveQuantizer(quantizer: QuantizerName | Quantizer): Quantizer {
  if (typeof quantizer !== "string") return quantizer;
  const found: Quantizer | undefined = Object.hasOwn(quantizers, quantizer)
    ? quantizers[quantizer]
    : undefined;
  if (found) return found;
  throw new BitloomError(
    "bad-option",
    `Unknown quantizer "${quantizer}": expected one of ${Object.keys(quantizers).join(", ")}.`,
    { option: "quantizer", got: quantizer },
  );
}

/**
 * Quantizes one weight matrix.
 *
 * @param input.weight - float32 [N, K]; not modified.
 * @param input.format - integer format.
 * @returns codes uint8 [N, K], scales float32 [N, B] (values of the format's scale type), zero points uint8 [N, B]
 *   unless the format is symmetric.
 * @throws bad-option - unknown quantizer name. numeric - see the quantizer.
 */
export async function quantizeWeight(
  input: QuantizeInput,
  quantizer: QuantizerName | Quantizer,
): Promise<QuantizedTensor> {
  const { weight, format, target, feed } = input;
  invariant(format.kind === "integer", `quantizeWeight was given the format ${format.id}`);
  invariant(weight.data.length === weight.rows * weight.cols, "weight shape and data disagree");
  invariant(
    !target || (target.rows === weight.rows && target.cols === weight.cols),
    "target and weight disagree in shape",
  );
  const resolved = resolveQuantizer(quantizer);
  invariant(!feed || resolved.takesFeed, "a feed for a quantizer that takes none");
  return quantizeGroups(input, (group) => resolved.quantize(group));
}
