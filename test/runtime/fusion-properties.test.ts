/**
 * Random graphs of what fusions look for, and of what only looks like it: whatever fuses, the numbers are those of ONNX
 * Runtime, with other sizes in every run.
 */
import fc from "fast-check";
import { afterAll, expect, test } from "vitest";
import { createRandom, type Random } from "../../src/core/random.ts";
import { elementCount } from "../../src/core/tensor.ts";
import { type Attribute, attribute, encodeModel, openModel } from "../../src/onnx/index.ts";
import { createSession } from "../../src/runtime/create-session.ts";
import { createRuntime } from "../../src/runtime/index.ts";
import { graph } from "../support/graph-builder.ts";

const runtime = createRuntime();
afterAll(() => runtime.close());

const { int, ints, float } = attribute;
const width = 4;

/** A graph that grows by patterns. Its values are [batch, heads, rows, columns]. */
class Patterns {
  readonly builder = graph({ opset: 17 }).input("x", "float32", ["batch", 2, "rows", width]);
  readonly values: { readonly name: string; readonly columns: number }[] = [
    { name: "x", columns: width },
  ];
  readonly random: Random;
  #count = 0;

  constructor(seed: number) {
    this.random = createRandom(seed);
  }

  pick<T>(list: readonly T[]): T {
    return list[this.random.integer(list.length)];
  }

  /** A random constant, or one full of `value`. */
  constant(shape: readonly number[], value?: number): string {
    const name = `c${this.#count++}`;
    const length = elementCount(shape);
    const data = Float32Array.from({ length }, () => value ?? this.random.normal() * 0.7);
    this.builder.initializer(name, shape, data);
    return name;
  }

  /** Adds a node; its value may be read by later patterns if it has `columns`. */
  add(
    operator: string,
    inputs: readonly string[],
    columns?: number,
    attributes: Readonly<Record<string, Attribute>> = {},
  ): string {
    const name = `v${this.#count++}`;
    this.builder.node(operator, inputs, [name], attributes);
    if (columns !== undefined) this.values.push({ name, columns });
    return name;
  }

  /** The operands in either order. */
  swapped(a: string, b: string): readonly string[] {
    return this.pick([
      [a, b],
      [b, a],
    ]);
  }

  mean(value: string, axis = -1): string {
    return this.add("ReduceMean", [value], undefined, { axes: ints([axis]) });
  }

  /** √(mean(x²) + ε). */
  spread(value: string, columns: number, axis?: number): string {
    const square = this.pick([
      () => this.add("Mul", [value, value], columns),
      () => this.add("Pow", [value, this.constant([], 2)]),
    ])();
    const sum = this.add("Add", [this.mean(square, axis), this.constant([], 0.01)]);
    return this.add("Sqrt", [sum]);
  }
}

type Pattern = (graph: Patterns, value: string, columns: number) => void;

const patterns: readonly Pattern[] = [
  function silu(graph, x, n) {
    const gate = graph.add("Sigmoid", [x], n);
    graph.add("Mul", graph.swapped(x, gate), n);
  },
  function gelu(graph, x, n) {
    const quotient = graph.add("Div", [x, graph.constant([], graph.pick([Math.SQRT2, 1.5]))]);
    const sum = graph.add(
      "Add",
      graph.swapped(graph.add("Erf", [quotient], n), graph.constant([], 1)),
    );
    const product = graph.add("Mul", graph.swapped(x, sum), n);
    graph.add("Mul", graph.swapped(product, graph.constant([], 0.5)), n);
  },
  function residual(graph, x, n) {
    const others = graph.values.filter(({ columns }) => columns === n);
    graph.add(graph.pick(["Add", "Mul"]), graph.swapped(x, graph.pick(others).name), n);
  },
  function bias(graph, x, n) {
    const shape = graph.pick([[n], [1], [], [2, 1, 1], [1, 1, 1, n]]);
    graph.add("Add", graph.swapped(x, graph.constant(shape)), n);
  },
  function product(graph, x, n) {
    const columns = graph.pick([4, 5, 8]);
    graph.add("MatMul", [x, graph.constant([n, columns])], columns);
  },
  function layerNorm(graph, x, n) {
    const centred = graph.add("Sub", [x, graph.mean(x, graph.pick([-1, -1, -1, 1]))]);
    const again = graph.pick([centred, graph.add("Sub", [x, graph.mean(x)])]);
    const quotient = graph.add(
      "Div",
      [again, graph.spread(centred, n, graph.pick([-1, -1, 1]))],
      n,
    );
    const scaled = graph.add("Mul", graph.swapped(quotient, graph.constant([n])), n);
    graph.add("Add", graph.swapped(scaled, graph.constant(graph.pick([[n], [n], []]))), n);
  },
  function rmsNorm(graph, x, n) {
    const root = graph.spread(x, n);
    const normed = graph.pick([
      () => graph.add("Div", [x, root], n),
      () => graph.add("Mul", graph.swapped(x, graph.add("Reciprocal", [root]))),
    ])();
    graph.add("Mul", graph.swapped(normed, graph.constant(graph.pick([[n], [n], [1], []]))), n);
  },
  function skipNorm(graph, x, n) {
    const sum = graph.add("Add", [graph.add("Tanh", [x]), x], graph.pick([n, undefined]));
    const parameters = graph.pick([1, 2]);
    const given = Array.from({ length: parameters }, () => graph.constant([n]));
    const attributes = { axis: int(graph.pick([-1, -1, 3])), epsilon: float(0.01) };
    graph.add("LayerNormalization", [sum, ...given], n, attributes);
  },
  function attention(graph, q, n) {
    const others = graph.values.filter(({ columns }) => columns === n);
    const [k, v] = [graph.pick(others).name, graph.pick(graph.values)];
    const keys = graph.add("Transpose", [k], undefined, { perm: ints([0, 1, 3, 2]) });
    let scores = graph.add("MatMul", [q, keys]);
    const scale = () => graph.constant([], 0.5);
    if (graph.random.integer(2)) scores = graph.add(graph.pick(["Mul", "Div"]), [scores, scale()]);
    const mask = () => graph.constant(graph.pick([[2, 1, 1], [1, 1, 1, 1], []]));
    if (graph.random.integer(2)) scores = graph.add("Add", graph.swapped(scores, mask()));
    const axis = int(graph.pick([-1, -1, 3, 2]));
    const weights = graph.add("Softmax", [scores], undefined, { axis });
    graph.add("MatMul", [weights, v.name], v.columns);
  },
  function gatedPerceptron(graph, x, n) {
    const [gate, up] = [0, 1].map(() => graph.add("MatMul", [x, graph.constant([n, 5])], 5));
    const activated = graph.add("Mul", [gate, graph.add("Sigmoid", [gate])]);
    graph.add("Mul", graph.swapped(activated, up), 5);
  },
];

const shapes = [
  [2, 2, 3, width],
  [1, 2, 3, width],
  [3, 2, 5, width],
  [2, 2, 1, width],
  [2, 2, 3, width],
];

test("graphs of patterns give ONNX Runtime's numbers: error ≤ 1e-4 of the largest", async () => {
  const graphs = fc.record({
    seed: fc.nat(1e6),
    order: fc.array(fc.constantFrom(...patterns), { minLength: 2, maxLength: 7 }),
    hasInner: fc.boolean(),
  });
  const check = fc.asyncProperty(graphs, async ({ seed, order, hasInner }) => {
    const made = new Patterns(seed);
    for (const pattern of order) {
      const { name, columns } = made.pick(made.values.slice(-4));
      pattern(made, name, columns);
    }
    const last = made.values[made.values.length - 1].name;
    const inner = made.pick(made.values.slice(1)).name;
    const outputs = [...new Set(hasInner ? [last, inner] : [last])];
    for (const name of outputs) made.builder.output(name, "float32");
    const model = await openModel(await encodeModel(made.builder.model()));
    const reference = await runtime.open(model, { optimize: "none" });
    const session = await createSession(model, { threads: 1, fallback: "none" });
    for (const shape of shapes) {
      const length = elementCount(shape);
      const data = Float32Array.from({ length }, () => made.random.normal());
      const wanted = await reference.run({ x: { dtype: "float32", shape, data } });
      const got = await session.run({ x: { type: "float32", dims: shape, data } });
      for (const name of outputs) {
        expect(got[name].dims).toEqual(wanted[name].shape);
        const expected = wanted[name].data as Float32Array;
        const largest = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-3);
        for (const [at, value] of (got[name].data as Float32Array).entries()) {
          const error = Math.abs(value - expected[at]);
          if (!(error <= 1e-4 * largest))
            expect.fail(`${name}[${at}]: ${value}, not ${expected[at]}`);
        }
      }
    }
    await reference.release();
    await session.release();
  });
  await fc.assert(check, { numRuns: 60 });
});
