/** Random shapes and parameters: whatever ONNX Runtime makes of them, the kernels and JavaScript forms make too. */
import fc from "fast-check";
import { afterAll, test } from "vitest";
import { attribute } from "../../../src/onnx/index.ts";
import { createRuntime } from "../../../src/runtime/index.ts";
import { expectSame, ints, random } from "./tensor-compare.ts";

const runtime = createRuntime({ threads: 1 });
afterAll(() => runtime.close());

const runs = { numRuns: 25 };
const size = fc.integer({ min: 1, max: 9 });
const dtype = fc.constantFrom("float32", "int64", "uint8", "float16", "int16");
const shapeOf = (rank: number) => fc.array(size, { minLength: rank, maxLength: rank });
const shape = fc.integer({ min: 1, max: 5 }).chain(shapeOf);

test("Transpose by any permutation, in any element type", async () => {
  const input = shape.chain((sizes) =>
    fc.record({
      sizes: fc.constant(sizes),
      order: fc.shuffledSubarray([...sizes.keys()], { minLength: sizes.length }),
      type: dtype,
    }),
  );
  const check = fc.asyncProperty(input, ({ sizes, order, type }) =>
    expectSame(runtime, {
      operator: "Transpose",
      inputs: [random(type, sizes)],
      attributes: { perm: attribute.ints(order) },
    }),
  );
  await fc.assert(check, runs);
});

test("Slice with any starts, ends and steps", async () => {
  const bound = fc.oneof(fc.integer({ min: -12, max: 12 }), fc.constantFrom(-(2 ** 40), 2 ** 40));
  const step = fc.constantFrom(1, 2, 3, -1, -2);
  const input = shape.chain((sizes) =>
    fc.record({
      sizes: fc.constant(sizes),
      type: dtype,
      cuts: fc.tuple(...sizes.map(() => fc.tuple(bound, bound, step))),
    }),
  );
  const check = fc.asyncProperty(input, ({ sizes, type, cuts }) => {
    const part = (index: number) => ints(...cuts.map((cut) => cut[index] as number));
    const axes = ints(...sizes.keys());
    return expectSame(runtime, {
      operator: "Slice",
      inputs: [random(type, sizes), part(0), part(1), axes, part(2)],
    });
  });
  await fc.assert(check, runs);
});

/** Shapes that broadcast: some sizes become 1, some leading axes are left out. */
const broadcasting = shape.chain((sizes) => {
  const operand = fc
    .record({
      ones: fc.array(fc.boolean(), { minLength: sizes.length, maxLength: sizes.length }),
      missing: fc.integer({ min: 0, max: sizes.length }),
    })
    .map(({ ones, missing }) => sizes.map((one, axis) => (ones[axis] ? 1 : one)).slice(missing));
  return fc.tuple(operand, operand, operand);
});

test("Add, Where and Max of any shapes that broadcast", async () => {
  const check = fc.asyncProperty(broadcasting, async ([a, b, c]) => {
    const floats = [a, b, c].map((sizes, seed) => random("float32", sizes, seed));
    await expectSame(runtime, { operator: "Add", inputs: floats.slice(1) });
    await expectSame(runtime, { operator: "Max", inputs: floats });
    await expectSame(runtime, {
      operator: "Where",
      inputs: [random("bool", a), ...floats.slice(1)],
    });
  });
  await fc.assert(check, runs);
});

test("ReduceSum and Softmax over any axis", async () => {
  const input = shape.chain((sizes) =>
    fc.record({
      sizes: fc.constant(sizes),
      axes: fc.subarray([...sizes.keys()], { minLength: 1 }),
    }),
  );
  const check = fc.asyncProperty(input, async ({ sizes, axes }) => {
    const x = random("float32", sizes);
    const reduced = { ...ints(...axes), isConstant: true };
    // Sums of float32 in another order differ by as much as their terms add up to, not by a share of the result.
    const terms = axes.reduce((product, axis) => product * sizes[axis], 1);
    const bound = Math.max(1e-5, 1e-6 * terms);
    await expectSame(runtime, { operator: "ReduceSum", inputs: [x, reduced], bound });
    const axis = attribute.int(axes[0] ?? 0);
    await expectSame(runtime, { operator: "Softmax", inputs: [x], attributes: { axis } });
  });
  await fc.assert(check, runs);
});

test("two threads share large tensors", async () => {
  const x = random("float32", [8, 150, 160]);
  const threads = 2;
  await expectSame(runtime, { operator: "Add", inputs: [x, random("float32", [150, 1])], threads });
  await expectSame(runtime, { operator: "Erf", inputs: [x], threads });
  await expectSame(runtime, { operator: "Softmax", inputs: [x], threads });
  await expectSame(runtime, {
    operator: "Transpose",
    inputs: [x],
    attributes: { perm: attribute.ints([2, 0, 1]) },
    threads,
  });
  const ids = ints(...Array.from({ length: 1200 }, (_, index) => (index * 7) % 8));
  await expectSame(runtime, {
    operator: "Gather",
    inputs: [random("float32", [8, 300]), ids],
    threads,
  });
});
