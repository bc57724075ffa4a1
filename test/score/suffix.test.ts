/** Where a graph is cut for the weights under test. */
import { afterAll, describe, expect, test } from "vitest";
import { attribute } from "../../src/onnx/index.ts";
import { createRuntime } from "../../src/runtime/index.ts";
import { frontierOf, prefixModel, suffixModel } from "../../src/score/suffix.ts";
import { graph } from "../support/graph-builder.ts";
import { floatFeed, floats, normals, numbersOf, toyTransformer } from "../support/toy-models.ts";

const runtime = createRuntime();
afterAll(() => runtime.close());

const base = () => graph().input("x", "float32", ["rows", 4]).output("y", "float32", ["rows", 4]);

describe("frontier", () => {
  test("of a chain: what the first dependent node reads", () => {
    const b = base();
    floats(b, "w1", [4, 4], normals(16, 1));
    floats(b, "w2", [4, 4], normals(16, 2));
    const { graph: g } = b
      .node("MatMul", ["x", "w1"], ["a"])
      .node("Relu", ["a"], ["b"])
      .node("MatMul", ["b", "w2"], ["y"])
      .model();
    expect(frontierOf(g, ["w1"])).toEqual(["x"]);
    expect(frontierOf(g, ["w2"])).toEqual(["b"]);
    expect(frontierOf(g, ["w1", "w2"])).toEqual(["x"]);
  });

  test("of a residual: the skip is read again after the weight", () => {
    const { graph: g } = toyTransformer();
    expect(frontierOf(g, ["q1.weight"])).toEqual(["h1", "kt1", "v1.out"]);
    expect(frontierOf(g, ["down1.weight"]).toSorted()).toEqual(["act1", "mid1"]);
    expect(frontierOf(g, ["head.weight"])).toEqual(["h2"]);
  });

  test("of a tied weight: from its first use, and constants are recomputed", () => {
    const { graph: g } = toyTransformer({ tied: true });
    // The transposed table depends on the table; nothing else but the ids comes from outside.
    expect(frontierOf(g, ["table"])).toEqual(["input_ids"]);
  });

  test("of a weight used twice: both places", () => {
    const b = base();
    floats(b, "w", [4, 4], normals(16, 1));
    floats(b, "other", [4, 4], normals(16, 2));
    const { graph: g } = b
      .node("MatMul", ["x", "w"], ["a"])
      .node("MatMul", ["x", "other"], ["skip"])
      .node("Add", ["a", "skip"], ["b"])
      .node("MatMul", ["b", "w"], ["y"])
      .model();
    expect(frontierOf(g, ["w"])).toEqual(["x", "skip"]);
  });

  test("of a weight in a Constant node, behind a Transpose: neither is part of it", () => {
    const b = base();
    const { graph: g } = b
      .node("Constant", [], ["w"], {
        value_floats: attribute.floats([1, 2, 3, 4]),
      })
      .node("Relu", ["x"], ["a"])
      .node("Identity", ["w"], ["w2"])
      .node("Mul", ["a", "w2"], ["y"])
      .model();
    expect(frontierOf(g, ["w"])).toEqual(["a"]);
  });

  test("of a node whose If body reads outer values: captures count as inputs", () => {
    const body = (value: string) =>
      attribute.subgraph(
        graph()
          .input(value, "float32", ["rows", 4])
          .output(`${value}_out`, "float32", ["rows", 4])
          .node("Identity", [value], [`${value}_out`])
          .model(),
        [value],
      );
    const b = graph()
      .input("x", "float32", ["rows", 4])
      .input("which", "bool", [])
      .output("y", "float32", ["rows", 4]);
    floats(b, "w", [4, 4], normals(16, 1));
    const { graph: g } = b
      .node("MatMul", ["x", "w"], ["a"])
      .node("Relu", ["x"], ["plain"])
      .node("If", ["which"], ["y"], { then_branch: body("a"), else_branch: body("plain") })
      .model();
    expect(frontierOf(g, ["w"])).toEqual(["x", "which", "plain"]);
  });
});

test("prefix, then suffix with the same weight, is the whole model", async () => {
  const b = base();
  floats(b, "w1", [4, 4], normals(16, 1));
  floats(b, "w2", [4, 4], normals(16, 2));
  const model = b
    .node("MatMul", ["x", "w1"], ["a"])
    .node("Relu", ["a"], ["b"])
    .node("MatMul", ["b", "w2"], ["c"])
    .node("Add", ["c", "a"], ["y"])
    .model();
  const frontier = frontierOf(model.graph, ["w2"]);
  expect(frontier).toEqual(["b", "a"]);
  const x = floatFeed(normals(12, 3), [3, 4]);
  const whole = await (await runtime.open(model)).run({ x });
  const kept = await (await runtime.open(prefixModel(model, frontier))).run({ x });
  expect(Object.keys(kept).toSorted()).toEqual(["a", "b"]);
  const suffix = suffixModel(model, ["w2"], kept, ["y"]);
  expect(suffix.inputs.toSorted()).toEqual(["a", "b", "w2", "x"]);
  expect(suffix.model.graph.valueInfo("a")?.shape).toEqual([undefined, undefined]);
  expect(suffix.model.graph.nodes.map(({ opType }) => opType)).toEqual(["MatMul", "Add"]);
  const session = await runtime.open(suffix.model);
  const w2 = floatFeed(normals(16, 2), [4, 4]);
  const same = await session.run({ ...kept, w2, x }, ["y"]);
  for (const [i, value] of numbersOf(whole.y).entries())
    expect(numbersOf(same.y)[i]).toBeCloseTo(value, 5);
});
