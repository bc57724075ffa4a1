import { describe, expect, test } from "vitest";
import { activationTypeFor, availableTiers, type Tiers } from "../../native/index.ts";

describe("tiers", () => {
  test("this engine has simd128, and says why it has relaxed SIMD or not", () => {
    const tiers = availableTiers();
    expect(tiers.simd128.isUsable).toBe(true);
    expect(tiers.relaxedSimd.reason).not.toBe("");
    expect(tiers.relaxedSimd.isUsable || !tiers.relaxedSimd8.isUsable).toBe(true);
  });

  test("relaxed SIMD that is not faster is not used", () => {
    let time = 0;
    const tiers = availableTiers(() => time++);
    expect(tiers.simd128.isUsable).toBe(true);
    expect(tiers.relaxedSimd.isUsable).toBe(false);
    if (tiers.relaxedSpeedup !== undefined) {
      expect(tiers.relaxedSpeedup).toBe(1);
      expect(tiers.relaxedSimd.reason).toContain("less than a gain");
    }
  });

  test("a clock that stands still ends the measurement", () => {
    const tiers = availableTiers(() => 0);
    expect(tiers.simd128.isUsable).toBe(true);
    expect(tiers.relaxedSimd.isUsable).toBe(false);
    expect(tiers.relaxedSpeedup).toBe(undefined);
    expect(tiers.relaxedSimd.reason).toMatch(/clock|no relaxed SIMD|wrong numbers/);
  });

  test("activations: int8 where the tier allows it for the width, int16 in exact mode", () => {
    const yes = { isUsable: true, reason: "" };
    const no = { isUsable: false, reason: "" };
    const tiers: Tiers = {
      simd128: yes,
      relaxedSimd: yes,
      relaxedSimd8: no,
      relaxedSpeedup: 2,
    };
    expect(activationTypeFor(4, tiers, false)).toBe("int8");
    expect(activationTypeFor(8, tiers, false)).toBe("int16");
    expect(activationTypeFor(8, { ...tiers, relaxedSimd8: yes }, false)).toBe("int8");
    expect(activationTypeFor(4, tiers, true)).toBe("int16");
  });
});
