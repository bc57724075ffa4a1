/** Weights whose row groups have Hessians of their own: each group is quantized like a layer of its own. */
import { expect, test } from "vitest";
import type { Event } from "../../src/core/events.ts";
import { parseFormat } from "../../src/core/format.ts";
import { countGroups, groupStats } from "../../src/core/stats.ts";
import { quantizeWeight } from "../../src/quantize/index.ts";
import { correlatedHessian, normalMatrix, quantizeInput } from "./samples.ts";

const groups = 3;
const perGroup = 4;
const cols = 20;
const hessians = Array.from({ length: groups }, (_, g) => correlatedHessian(cols, g));
const hessian = Float64Array.from(hessians.flatMap((each) => [...each]));
const weight = normalMatrix(groups * perGroup, cols, 1);
const target = normalMatrix(groups * perGroup, cols, 2);

/** The rows of one group. */
const rowsOf = ({ data }: typeof weight, group: number) => ({
  rows: perGroup,
  cols,
  data: data.slice(group * perGroup * cols, (group + 1) * perGroup * cols),
});

test.each(["int4-b16-asym", "int3-row", "int2-b16"])("%s: gptq by group", async (id) => {
  const format = parseFormat(id);
  const whole = await quantizeWeight({ ...quantizeInput(weight, format, hessian), target }, "gptq");
  const parts = await Promise.all(
    hessians.map((own, g) =>
      quantizeWeight(
        { ...quantizeInput(rowsOf(weight, g), format, own), target: rowsOf(target, g) },
        "gptq",
      ),
    ),
  );
  const joined = (of: (part: (typeof parts)[number]) => ArrayLike<number>) =>
    parts.flatMap((part) => Array.from(of(part)));
  expect(whole).toMatchObject({ format, rows: groups * perGroup, cols });
  expect([...whole.codes]).toEqual(joined(({ codes }) => codes));
  expect([...whole.scales]).toEqual(joined(({ scales }) => scales));
  expect([...(whole.zeroPoints ?? [])]).toEqual(joined(({ zeroPoints }) => zeroPoints ?? []));
});

test("what needs no Hessian gives the same for the whole and in groups", async () => {
  const format = parseFormat("int4-b16");
  for (const quantizer of ["rtn", "hqq"] as const) {
    const grouped = await quantizeWeight(quantizeInput(weight, format, hessian), quantizer);
    expect(grouped).toEqual(
      await quantizeWeight(quantizeInput(weight, format, undefined), quantizer),
    );
  }
});

test("a notice that every group gives is given once", async () => {
  const dead = hessian.slice();
  for (let g = 0; g < groups; g++) {
    for (let k = 0; k < cols; k++) {
      dead[(g * cols + k) * cols + 5] = 0;
      dead[(g * cols + 5) * cols + k] = 0;
    }
  }
  const events: Event[] = [];
  const input = quantizeInput(weight, parseFormat("int4-b16"), dead, {
    onEvent: (event) => events.push(event),
  });
  await quantizeWeight(input, "gptq");
  expect(events).toHaveLength(1);
  expect(events[0]).toMatchObject({
    type: "notice",
    notice: {
      code: "dead-columns",
      message: expect.stringMatching(
        /^1 of 20 inputs .* The same in 2 of the other 2 row groups\.$/,
      ),
    },
  });
});

test("the statistics of one group", () => {
  const meanSquare = Float64Array.from({ length: groups * cols }, (_, i) => i);
  const stats = { layer: "l", tokens: 7, hessian, meanSquare, rowFrequency: undefined };
  expect(countGroups(stats, cols)).toBe(groups);
  expect(countGroups({ meanSquare }, cols)).toBe(groups);
  expect(countGroups({}, cols)).toBe(1);
  const one = groupStats(stats as never, 1, groups) as typeof stats;
  expect([...one.hessian]).toEqual([...hessians[1]]);
  expect([...one.meanSquare]).toEqual([...meanSquare.slice(cols, 2 * cols)]);
  expect(one).toMatchObject({ layer: "l", tokens: 7, rowFrequency: undefined });
});
