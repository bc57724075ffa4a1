/** The linear algebra of a run, before and after it has given its memory back. */
import { expect, test } from "vitest";
import { openRunAlgebra } from "../../src/pipeline/algebra.ts";
import { normals } from "../support/toy-models.ts";

test("gives the same results after a rest, which may come at any time", async () => {
  const algebra = openRunAlgebra({ threads: 2 });
  expect(algebra.threads).toBe(2);
  await algebra.rest();
  const [rows, inner, cols] = [5, 7, 3];
  const a = normals(rows * inner, 1);
  const b = Float64Array.from(normals(inner * cols, 2));
  const before = await algebra.product(a, b, rows, inner, cols);
  await algebra.rest();
  await algebra.rest();
  expect(await algebra.product(a, b, rows, inner, cols)).toEqual(before);
  const direct = Float64Array.from({ length: rows * cols }, (_, i) => {
    const [row, col] = [Math.floor(i / cols), i % cols];
    let sum = 0;
    for (let k = 0; k < inner; k++) sum += a[row * inner + k] * b[k * cols + col];
    return sum;
  });
  direct.forEach((value, i) => {
    expect(before[i]).toBeCloseTo(value, 10);
  });
  await algebra.release();
});
