import { expect, test } from "vitest";
import { createRandom } from "../../src/core/random.ts";

test("the same seed gives the same numbers, another seed others", () => {
  const draw = (seed: number) => {
    const random = createRandom(seed);
    return Array.from({ length: 5 }, () => random.next());
  };
  expect(draw(42)).toEqual(draw(42));
  expect(draw(42)).not.toEqual(draw(43));
});

test("moments and ranges", () => {
  const random = createRandom(1);
  const count = 20000;
  let sum = 0;
  let squares = 0;
  let signs = 0;
  for (let i = 0; i < count; i++) {
    const normal = random.normal();
    sum += normal;
    squares += normal * normal;
    signs += random.sign();
    const integer = random.integer(7);
    if (!(Number.isInteger(integer) && integer >= 0 && integer < 7)) expect.unreachable();
  }
  expect(Math.abs(sum / count)).toBeLessThan(0.03);
  expect(squares / count).toBeCloseTo(1, 1);
  expect(Math.abs(signs / count)).toBeLessThan(0.03);
});
