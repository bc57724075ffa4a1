/** bitloom::Unpacked…: weights that an earlier step packed, in front of nodes without low-bit kernels. */
import { describe, expect, test } from "vitest";
import { isBitloomError } from "../../../src/core/errors.ts";
import { attribute, type Model } from "../../../src/onnx/index.ts";
import { createSession, Tensor } from "../../../src/runtime/index.ts";
import { graph } from "../../support/graph-builder.ts";

/** y = x · Unpacked4(codes, scales): K = 3 in one block of 16, N = 2. */
function model(name: string, codes: Uint8Array, scales = Float32Array.of(2, 0.5)): Model {
  const attributes = {
    K: attribute.int(3),
    N: attribute.int(2),
    bits: attribute.int(4),
    block_size: attribute.int(16),
  };
  return graph()
    .input("x", "float32", ["rows", 2])
    .initializer("codes", [2, 1, codes.length / 2], codes)
    .initializer("scales", [2, scales.length / 2], scales)
    .initializer("zeros", [2, 1], Uint8Array.of(3, 5))
    .node(
      `bitloom::${name}`,
      name.includes("Symmetric") ? ["codes", "scales"] : ["codes", "scales", "zeros"],
      ["w"],
      attributes,
    )
    .node("MatMul", ["x", "w"], ["y"])
    .output("y", "float32", ["rows", 3])
    .model();
}

/** Codes 1 2 15 and 0 8 9, the rest padding. */
const codes = Uint8Array.of(0x21, 0x0f, 0, 0, 0, 0, 0, 0, 0x80, 0x09, 0, 0, 0, 0, 0, 0);

async function run(made: Model): Promise<number[]> {
  const session = await createSession(made, { fallback: "none", threads: 1 });
  const x = new Tensor("float32", Float32Array.of(1, 0, 0, 1), [2, 2]);
  const { y } = await session.run({ x });
  await session.release();
  return [...(y.data as Float32Array)];
}

test("symmetric codes are around 2^(bits − 1), others around their zero points", async () => {
  expect(await run(model("Unpacked4SymmetricRagged", codes))).toEqual([-14, -12, 14, -4, 0, 0.5]);
  expect(await run(model("Unpacked4Ragged", codes))).toEqual([-4, -2, 24, -2.5, 1.5, 2]);
});

describe("what does not fit is refused by the node's name", () => {
  test.each([
    ["too few codes", () => model("Unpacked4SymmetricRagged", codes.slice(0, 2))],
    [
      "too many scales",
      () => model("Unpacked4SymmetricRagged", codes, new Float32Array(4).fill(1)),
    ],
    ["another function", () => model("UnpackedOtherwise", codes)],
  ])("%s", async (_, make) => {
    const error = await run(make()).catch((thrown: unknown) => thrown);
    expect(isBitloomError(error)).toBe(true);
    expect(String(error)).toMatch(/Unpacked/);
  });
});
