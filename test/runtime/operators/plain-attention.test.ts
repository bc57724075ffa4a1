/** Attention written out on small inputs that broadcast, against ONNX Runtime. */
import { afterAll, expect, test } from "vitest";
import { attribute } from "../../../src/onnx/index.ts";
import { createRuntime, createSession } from "../../../src/runtime/index.ts";
import { graph } from "../../support/graph-builder.ts";
import { normals } from "../../support/toy-models.ts";

const runtime = createRuntime();
afterAll(() => runtime.close());

const model = graph()
  .input("q", "float32", ["b", "h", "r", 4])
  .input("k", "float32", ["c", "h", "n", 4])
  .input("v", "float32", ["d", "h", "n", 4])
  .input("mask", "float32", ["m", "g", "s", "n"])
  .node("Transpose", ["k"], ["kt"], { perm: attribute.ints([0, 1, 3, 2]) })
  .node("MatMul", ["q", "kt"], ["scores"])
  .node("Add", ["scores", "mask"], ["masked"])
  .node("Softmax", ["masked"], ["probabilities"], { axis: attribute.int(-1) })
  .node("MatMul", ["probabilities", "v"], ["y"])
  .output("y", "float32")
  .model();

test.each([
  ["all alike", 2, 2, 2, [2, 3, 5, 7]],
  ["a mask for all", 2, 2, 2, [1, 1, 5, 7]],
  ["a mask of more samples than anything else", 1, 1, 1, [3, 1, 5, 7]],
  ["a mask of samples and heads, keys of one", 2, 1, 2, [2, 3, 1, 7]],
] as const)("%s", async (_, b, c, d, maskShape) => {
  const tensor = (shape: readonly number[], seed: number) => {
    const data = normals(
      shape.reduce((a, x) => a * x, 1),
      seed,
    );
    return { dtype: "float32" as const, shape, data };
  };
  const feeds = {
    q: tensor([b, 3, 5, 4], 1),
    k: tensor([c, 3, 7, 4], 2),
    v: tensor([d, 3, 7, 4], 3),
    mask: tensor(maskShape, 4),
  };
  const reference = await runtime.open(model);
  const wanted = (await reference.run(feeds)).y;
  const session = await createSession(model, { threads: 1, fallback: "none" });
  const given = Object.entries(feeds).map(([name, { dtype, shape, data }]) => [
    name,
    { type: dtype, dims: shape, data },
  ]);
  const { y } = await session.run(Object.fromEntries(given));
  expect(session.nodes.total).toBeLessThan(5);
  expect(y.dims).toEqual(wanted.shape);
  const [got, right] = [y.data as Float32Array, wanted.data as Float32Array];
  for (const [i, value] of right.entries()) expect(Math.abs(got[i] - value)).toBeLessThan(1e-5);
  await session.release();
  await reference.release();
});
