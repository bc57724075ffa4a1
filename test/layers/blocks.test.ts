import { existsSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { findBlocks, findLayers } from "../../src/layers/index.ts";
import { type Model, openModel } from "../../src/onnx/index.ts";
import { type GraphBuilder, graph } from "../support/graph-builder.ts";

const width = 4;

/** Builds transformer graphs value by value; each layer is named after its output. */
class Stream {
  readonly builder: GraphBuilder;
  #count = 0;

  constructor() {
    this.builder = graph().input("x", "float32", ["rows", width]);
  }

  op(operator: string, ...inputs: string[]): string {
    const output = `${operator}_${this.#count++}`;
    this.builder.node(operator, inputs, [output]);
    return output;
  }

  vector(): string {
    const name = `vector_${this.#count++}`;
    this.builder.initializer(name, [width], new Float32Array(width));
    return name;
  }

  layer(name: string, input: string): string {
    this.builder.initializer(`${name}/w`, [width, width], new Float32Array(width * width));
    this.builder.node("MatMul", [input, `${name}/w`], [name], {}, name);
    return this.op("Add", name, this.vector()); // a bias is no residual
  }

  norm(input: string): string {
    return this.op("LayerNormalization", input, this.vector());
  }

  attention(name: string, input: string): string {
    const [q, k, v] = ["q", "k", "v"].map((part) => this.layer(`${name}.${part}`, input));
    const scores = this.op("Softmax", this.op("MatMul", q, this.op("Transpose", k)));
    return this.layer(`${name}.o`, this.op("MatMul", scores, v));
  }

  mlp(name: string, input: string): string {
    const up = this.layer(`${name}.up`, input);
    const cubed = this.op("Mul", this.op("Mul", up, up), up);
    return this.layer(`${name}.down`, this.op("Add", up, cubed)); // GELU adds too, but no layer
  }

  blocks(output: string) {
    const model: Model = this.builder.output(output, "float32").model();
    return findBlocks(model.graph, findLayers(model.graph).layers);
  }
}

const names = (block: string) =>
  ["q", "k", "v", "o", "up", "down"].map((part) => `${block}.${part}`);

test("pre-norm: a block goes from one residual sum to the next", () => {
  const stream = new Stream();
  let x = stream.layer("embed", "x");
  const ends = [x];
  for (const block of ["a", "b"]) {
    x = stream.op("Add", x, stream.attention(block, stream.norm(x)));
    x = stream.op("Add", stream.mlp(block, stream.norm(x)), x); // in either order
    ends.push(x);
  }
  expect(stream.blocks(stream.layer("head", stream.norm(x)))).toEqual([
    { name: "block 0", input: ends[0], output: ends[1], layers: names("a") },
    { name: "block 1", input: ends[1], output: ends[2], layers: names("b") },
  ]);
});

test("post-norm: the norm behind the sum belongs to the block", () => {
  const stream = new Stream();
  let x = stream.norm("x");
  const inputs = [x];
  let sum = "";
  for (const block of ["a", "b"]) {
    x = stream.norm(stream.op("Add", x, stream.attention(block, x)));
    sum = stream.op("Add", x, stream.mlp(block, x));
    x = stream.norm(sum);
    inputs.push(x);
  }
  expect(stream.blocks(x)).toEqual([
    { name: "block 0", input: inputs[0], output: inputs[1], layers: names("a") },
    { name: "block 1", input: inputs[1], output: sum, layers: names("b") },
  ]);
});

test("fused SkipLayerNormalization: the stream is its fourth output", () => {
  const stream = new Stream();
  let sum = stream.layer("embed", "x");
  let normed = stream.norm(sum);
  const inputs = [sum];
  let count = 0;
  const join = (branch: string) => {
    const [norm, next] = [`norm_${count}`, `sum_${count++}`];
    stream.builder.node(
      "com.microsoft::SkipLayerNormalization",
      [sum, branch, stream.vector()],
      [norm, "", "", next],
    );
    [normed, sum] = [norm, next];
  };
  for (const block of ["a", "b"]) {
    join(stream.attention(block, normed));
    join(stream.mlp(block, normed));
    inputs.push(sum);
  }
  expect(stream.blocks(stream.layer("head", normed))).toEqual([
    { name: "block 0", input: inputs[0], output: inputs[1], layers: names("a") },
    { name: "block 1", input: inputs[1], output: inputs[2], layers: names("b") },
  ]);
});

test("parallel attention and MLP are one branch", () => {
  const stream = new Stream();
  const embedded = stream.layer("embed", "x");
  const normed = stream.norm(embedded);
  const branch = stream.op("Add", stream.attention("a", normed), stream.mlp("a", normed));
  const output = stream.op("Add", embedded, branch);
  expect(stream.blocks(stream.norm(output))).toEqual([
    { name: "block 0", input: embedded, output, layers: names("a") },
  ]);
});

test("without attention every residual branch is a block; a longer skip around them is none", () => {
  const stream = new Stream();
  const first = stream.op("Add", "x", stream.mlp("a", "x"));
  const second = stream.op("Add", first, stream.mlp("b", first));
  const blocks = stream.blocks(stream.op("Add", "x", second));
  expect(blocks.map(({ input, output, layers }) => [input, output, ...layers])).toEqual([
    ["x", first, "a.up", "a.down"],
    [first, second, "b.up", "b.down"],
  ]);
});

test("what is looked up by the shape of the stream is no branch", () => {
  const stream = new Stream();
  const embedded = stream.layer("embed", "x");
  const length = stream.op("Shape", embedded);
  stream.builder.initializer("positions", [8, width], new Float32Array(8 * width));
  stream.builder.node("Gather", ["positions", length], ["position"], {}, "position");
  expect(stream.blocks(stream.op("Add", embedded, "position"))).toEqual([]);
});

test("a graph without residual sums has no blocks", () => {
  const stream = new Stream();
  expect(stream.blocks(stream.mlp("a", "x"))).toEqual([]);
});

test("ten thousand nodes with sums inside the branches", () => {
  const stream = new Stream();
  let x = stream.layer("embed", "x");
  for (let block = 0; block < 150; block++) {
    let branch = stream.attention(`${block}`, stream.norm(x));
    for (let i = 0; i < 25; i++)
      branch = stream.op("Add", stream.op("Mul", branch, branch), branch);
    x = stream.op("Add", x, branch);
  }
  expect(stream.blocks(x)).toHaveLength(150);
});

describe("language models", () => {
  for (const [name, path] of [
    ["tiny-lm", "calibration/tiny-lm/model.onnx"],
    ["stories260k", "../shared/models/stories260k/model.onnx"],
  ]) {
    const absent = existsSync(path) ? "" : ` (skipped: ${path} is missing)`;
    test.skipIf(absent !== "")(`${name}: five blocks of seven matrices${absent}`, async () => {
      const { graph: opened } = await openModel(path);
      const blocks = findBlocks(opened, findLayers(opened).layers);
      expect(blocks).toHaveLength(5);
      blocks.forEach(({ layers, input, output }, i) => {
        const parts = ["q", "k", "v", "o"].map((part) => `self_attn/${part}_proj`);
        const mlp = ["gate", "up", "down"].map((part) => `mlp/${part}_proj`);
        expect(layers.toSorted()).toEqual(
          [...parts, ...mlp].map((part) => `/model/layers.${i}/${part}/MatMul`).toSorted(),
        );
        expect(output).toBe(blocks[i + 1]?.input ?? output);
        expect(input).not.toBe(output);
      });
    });
  }
});
