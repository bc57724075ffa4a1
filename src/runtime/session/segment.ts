/**
 * A segment of the program on the other runtime: values out of the session's memory, results back as stored numbers.
 */
import { BitloomError, invariant } from "../../core/errors.ts";
import type { FeedTensor } from "../../core/feeds.ts";
import type { SegmentStep } from "./step.ts";
import { feedOf, type HostTensor, storedNumbers } from "./storage.ts";
import type { Value } from "./values.ts";

/**
 * @returns the outputs, in order.
 * @throws unsupported - an output holds strings.
 */
export async function runSegment(
  step: SegmentStep,
  buffer: ArrayBuffer,
  arena: number,
): Promise<readonly (readonly [Value, HostTensor])[]> {
  const feeds: Record<string, FeedTensor> = {};
  for (const value of step.inputs) {
    const view = value.view(buffer, arena);
    invariant(view, `segment input ${value.name} was not computed`);
    feeds[value.name] = feedOf(view);
  }
  const results = await step.run(feeds);
  return step.outputs.map((value) => {
    const { dtype, shape, data } = results[value.name];
    if (isTexts(data)) {
      throw new BitloomError(
        "unsupported",
        `Value "${value.name}" holds strings, which the runtime cannot carry. Leave the node that makes it out of the model.`,
        { what: "tensors of string", node: value.name },
      );
    }
    return [value, { dtype, shape, data: storedNumbers(dtype, data) }];
  });
}

const isTexts = (data: unknown): data is readonly string[] => Array.isArray(data);
