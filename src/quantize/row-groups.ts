/**
 * Weights whose rows fall into groups with inputs of their own (grouped and depthwise convolutions): each group is
 * quantized like a layer of its own.
 * Not here: what a group's statistics are (`core/stats.ts`). Invariant: quantizers never see more than one group.
 */
import type { Notice } from "../core/events.ts";
import type { QuantizeInput } from "../core/method.ts";
import type { QuantizedTensor } from "../core/quantized.ts";
import { countGroups, groupStats } from "../core/stats.ts";
import type { Matrix } from "../core/tensor.ts";

/**
 * Quantizes group after group and puts codes and grids together.
 *
 * @param quantizeOne - quantizes one group; called once, with the input itself, when there is only one.
 *
 * Cost: that of the groups; one view per group, and the result. Notices of one code are joined to one.
 */
export async function quantizeGroups(
  input: QuantizeInput,
  quantizeOne: (input: QuantizeInput) => QuantizedTensor | Promise<QuantizedTensor>,
): Promise<QuantizedTensor> {
  const { weight, target, format, stats, options } = input;
  const { rows, cols } = weight;
  const groups = countGroups(stats, cols);
  if (groups === 1) return quantizeOne(input);
  const notices = new Map<string, Notice[]>();
  const onEvent: typeof options.onEvent = (event) => {
    if (event.type !== "notice") options.onEvent?.(event);
    else notices.set(event.notice.code, [...(notices.get(event.notice.code) ?? []), event.notice]);
  };
  const perGroup = rows / groups;
  const slice = ({ data }: Matrix, group: number): Matrix => {
    const start = group * perGroup * cols;
    return { rows: perGroup, cols, data: data.subarray(start, start + perGroup * cols) };
  };
  const parts: QuantizedTensor[] = [];
  for (let group = 0; group < groups; group++) {
    const part = await quantizeOne({
      ...input,
      weight: slice(weight, group),
      target: target && slice(target, group),
      stats: groupStats(stats, group, groups),
      options: { ...options, onEvent },
    });
    parts.push(part);
  }
  for (const [first, ...others] of notices.values()) {
    const message = `${first.message} The same in ${others.length} of the other ${groups - 1} row groups.`;
    options.onEvent?.({
      type: "notice",
      notice: others.length > 0 ? { ...first, message } : first,
    });
  }
  const codes = new Uint8Array(rows * cols);
  const grids = parts.reduce((sum, { scales }) => sum + scales.length, 0);
  const scales = new Float32Array(grids);
  const zeroPoints = format.symmetric ? undefined : new Uint8Array(grids);
  parts.forEach((part, group) => {
    codes.set(part.codes, (group * codes.length) / groups);
    scales.set(part.scales, (group * grids) / groups);
    if (part.zeroPoints) zeroPoints?.set(part.zeroPoints, (group * grids) / groups);
  });
  return { format, rows, cols, codes, scales, zeroPoints };
}
