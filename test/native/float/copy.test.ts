import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { permutedWalk, planCopy, transposeKernel, type Walk } from "../../../native/float/copy.ts";
import { gatherKernel, planGather } from "../../../native/float/copy-gather.ts";
import { contiguousStrides } from "../../../native/float/levels.ts";
import type { ElementBytes } from "../../../native/float/where.ts";
import type { Kernel } from "../../../native/kernel.ts";
import { runKernel } from "../harness.ts";
import { random } from "./float-cases.ts";

type Elements = Float32Array | Float64Array | Uint8Array;
const sizeOf = (shape: readonly number[]) => shape.reduce((total, size) => total * size, 1);
const numbered = (bytes: ElementBytes, count: number): Elements => {
  const type = { 1: Uint8Array, 4: Float32Array, 8: Float64Array }[bytes];
  return new type(count).map((_: number, at: number) => at % 251);
};

/** All indices of the shape as offsets of the walk. */
function offsets(shape: readonly number[], { strides, offset = 0 }: Walk): number[] {
  return Array.from({ length: sizeOf(shape) }, (_, flat) => {
    let rest = flat;
    let at = offset;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      at += (rest % shape[axis]) * strides[axis];
      rest = Math.floor(rest / shape[axis]);
    }
    return at;
  });
}

function check(
  bytes: ElementBytes,
  shape: readonly number[],
  inputCount: number,
  from: Walk,
  outputCount = sizeOf(shape),
  to: Walk = { strides: contiguousStrides(shape) },
): string {
  const plan = planCopy(bytes, shape, from, to);
  if (!plan) throw new Error("no plan");
  const input = numbered(bytes, inputCount);
  const output = numbered(bytes, outputCount).fill(99);
  const expected = output.slice();
  const target = offsets(shape, to);
  for (const [at, source] of offsets(shape, from).entries()) expected[target[at]] = input[source];
  const run = (ranges: readonly (readonly [number, number])[]) => {
    const result = output.slice();
    runKernel({
      kernel: plan.kernel as Kernel,
      arrays: { input, output: result },
      values: plan.values,
      offsets: { input: plan.inputOffset, output: plan.outputOffset },
      items: plan.items,
      ranges,
      misalign: bytes === 8 ? 8 : 4,
    });
    expect(result).toEqual(expected);
  };
  const third = Math.ceil(plan.items / 3);
  run([[0, plan.items]]);
  run([
    [third, plan.items],
    [0, third],
  ]);
  return plan.kernel.name;
}

const permute = (bytes: ElementBytes, shape: readonly number[], permutation: readonly number[]) => {
  const { shape: result, walk } = permutedWalk(shape, permutation);
  return check(bytes, result, sizeOf(shape), walk);
};

describe.each([1, 4, 8] as ElementBytes[])("elements of %i bytes, exact", (bytes) => {
  test("contiguous, of every length", () => {
    for (const count of [1, 2, 3, 5, 15, 16, 17, 67, 129, 700, 9001]) {
      check(bytes, [count], count, { strides: [1] });
    }
    check(bytes, [0, 3], 0, { strides: [3, 1] });
    check(bytes, [], 1, { strides: [] });
  });

  test("transposes", () => {
    permute(bytes, [2, 7, 3, 5], [0, 2, 1, 3]);
    permute(bytes, [3, 5], [1, 0]);
    permute(bytes, [37, 41], [1, 0]);
    permute(bytes, [2, 3, 9, 18], [0, 1, 3, 2]);
    permute(bytes, [2, 6, 5, 7], [0, 3, 1, 2]);
    permute(bytes, [4, 5, 6, 7], [3, 2, 1, 0]);
    permute(bytes, [2, 3, 2, 3, 2, 3], [0, 2, 4, 1, 3, 5]);
  });

  test("slices with steps, forwards and backwards; repeats; parts of a concatenation", () => {
    check(bytes, [3, 4], 60, { strides: [20, 3], offset: 2 });
    check(bytes, [3, 5], 15, { strides: [-5, -1], offset: 14 });
    check(bytes, [4, 3, 5], 15, { strides: [0, 5, 1] });
    check(bytes, [3, 6], 3, { strides: [1, 0] });
    check(bytes, [3, 4], 12, { strides: [4, 1] }, 30, { strides: [10, 1], offset: 5 });
  });
});

describe("transposing kernel", () => {
  test("is chosen when both inner axes change places, for edges of every size", () => {
    for (const rows of [4, 5, 8, 33]) {
      for (const columns of [4, 7, 16, 17, 35, 64]) {
        expect(permute(4, [rows, columns], [1, 0])).toBe(transposeKernel.name);
      }
    }
    expect(permute(4, [2, 8, 3, 20], [0, 2, 3, 1])).toBe(transposeKernel.name);
    expect(permute(4, [2, 7, 3, 5], [0, 2, 1, 3])).toBe("x32-copy-simd128");
  });

  test("property: any permutation of any shape, any element size", () => {
    const shapes = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 5 });
    const seeds = fc.tuple(shapes, fc.nat(), fc.constantFrom<ElementBytes>(1, 4, 8));
    fc.assert(
      fc.property(seeds, ([shape, seed, bytes]) => {
        const next = random(seed);
        const order = shape.map((_, axis) => ({ axis, key: next() }));
        const permutation = order.sort((a, b) => a.key - b.key).map(({ axis }) => axis);
        permute(bytes, shape, permutation);
      }),
      { numRuns: 60 },
    );
  });
});

describe("gather", () => {
  const run = (shape: readonly number[], axis: number, ids: Float64Array) => {
    const table = numbered(4, sizeOf(shape));
    const plan = planGather(shape, axis, ids.length, 4);
    const output = new Float32Array((plan.items * plan.values.rowBytes) / 4);
    const status = new Int32Array(1);
    runKernel({
      kernel: gatherKernel,
      ...plan,
      arrays: { table, ids, output, status },
      ranges: [
        [1, plan.items],
        [0, 1],
      ],
      misalign: 8,
    });
    return { table, output, status: status[0] };
  };

  test("rows of any axis, negative ids from the end, exact", () => {
    const ids = Float64Array.of(0, 4, -1, 2, -5);
    for (const axis of [0, 1, 2]) {
      const shape = [5, 5, 6].with(axis, 5);
      const { table, output, status } = run(shape, axis, ids);
      const inner = sizeOf(shape.slice(axis + 1));
      const outer = sizeOf(shape.slice(0, axis));
      const expected: number[] = [];
      for (let row = 0; row < outer; row++) {
        for (const id of ids) {
          const start = (row * 5 + (id < 0 ? id + 5 : id)) * inner;
          expected.push(...table.subarray(start, start + inner));
        }
      }
      expect([...output]).toEqual(expected);
      expect(status).toBe(0);
    }
  });

  test("ids outside set the status and give zeros", () => {
    for (const id of [5, -6, 1e12, -1e12]) {
      const { output, status } = run([5, 3], 0, Float64Array.of(1, id));
      expect([...output]).toEqual([3, 4, 5, 0, 0, 0]);
      expect(status).toBe(1);
    }
  });
});
