import { describe, expect, test } from "vitest";
import { isBitloomError } from "../../src/core/errors.ts";
import { float32Format, parseFormat } from "../../src/core/format.ts";
import type { Quantizer } from "../../src/core/method.ts";
import {
  type QuantizerName,
  quantizers,
  quantizeWeight,
  resolveQuantizer,
} from "../../src/quantize/index.ts";
import { normalMatrix, quantizeInput } from "./samples.ts";

const input = quantizeInput(normalMatrix(2, 40, 1), parseFormat("int4-b32"), undefined);

describe("quantizeWeight", () => {
  test("takes a registered name or the user's own object", async () => {
    expect(await quantizeWeight(input, "rtn")).toEqual(await quantizers.rtn.quantize(input));
    const own: Quantizer = { ...quantizers.rtn, summary: "mine" };
    expect(await quantizeWeight(input, own)).toEqual(await quantizeWeight(input, "rtn"));
    expect(resolveQuantizer(own)).toBe(own);
  });

  test.each(["nope", "toString", ""])(
    "refuses the name %j and lists the known ones",
    async (name) => {
      try {
        await quantizeWeight(input, name as QuantizerName);
        expect.unreachable();
      } catch (error) {
        expect(isBitloomError(error, "bad-option")).toBe(true);
        expect(String(error)).toContain("rtn, gptq");
      }
    },
  );

  test("a float format or a wrong shape is a bug of the caller inside bitloom", async () => {
    await expect(quantizeWeight({ ...input, format: float32Format }, "rtn")).rejects.toThrow("bug");
    const weight = { rows: 2, cols: 3, data: new Float32Array(5) };
    await expect(quantizeWeight({ ...input, weight }, "rtn")).rejects.toThrow("bug");
  });
});
