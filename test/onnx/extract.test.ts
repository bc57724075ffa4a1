import { describe, expect, test } from "vitest";
import {
  attribute,
  encodeModel,
  extractSubgraph,
  type Model,
  openModel,
  type ValueInfo,
} from "../../src/onnx/index.ts";
import { graph } from "../support/graph-builder.ts";

const info = (name: string): ValueInfo => ({ name, dtype: "float32", shape: undefined });
const names = (items: readonly { readonly name: string }[]): string[] =>
  items.map(({ name }) => name);

const chain = (): Model =>
  graph()
    .input("x", "float32", ["n", 2])
    .input("mask", "float32", ["n", 2])
    .initializer("w", [2, 2], new Float32Array(4))
    .initializer("v", [2, 2], new Float32Array(4))
    .node("MatMul", ["x", "w"], ["h"], {}, "first")
    .node("Split", ["h"], ["left", "right"], { num_outputs: attribute.int(2) }, "split")
    .node("Add", ["right", "mask"], ["sum"], {}, "mix")
    .node("Add", ["left", "sum"], ["a"], {}, "join")
    .node("MatMul", ["a", "v"], ["y"], {}, "last")
    .output("y", "float32", ["n", 2])
    .model();

describe("extractSubgraph", () => {
  test("takes what lies between, with its constants", async () => {
    const part = extractSubgraph(chain(), { inputs: [info("a")], outputs: [info("y")] });
    expect(names(part.graph.nodes)).toEqual(["last"]);
    expect([...part.graph.initializers.keys()]).toEqual(["v"]);
    expect(names(part.graph.inputs)).toEqual(["a"]);
    const reopened = await openModel(await encodeModel(part));
    expect(names(reopened.graph.outputs)).toEqual(["y"]);
    expect(reopened.opsets).toEqual(part.opsets);
  });

  test("keeps graph inputs that are needed though not listed, after the listed ones", () => {
    const part = extractSubgraph(chain(), { inputs: [info("h")], outputs: [info("sum")] });
    expect(names(part.graph.inputs)).toEqual(["h", "mask"]);
    expect(names(part.graph.nodes)).toEqual(["split", "mix"]);
    expect(part.graph.valueInfo("mask")?.shape).toEqual(["n", 2]);
  });

  test("caches lose the names of their dimensions, other inputs keep them", () => {
    const model = graph()
      .input("past_key_values.0.key", "float32", ["batch", 2, "past", 8])
      .input("x", "float32", ["batch", 2, "past", 8])
      .node("Add", ["past_key_values.0.key", "x"], ["y"])
      .output("y", "float32")
      .model();
    const part = extractSubgraph(model, { inputs: [], outputs: [info("y")] });
    expect(part.graph.inputs.map(({ shape }) => shape)).toEqual([
      [undefined, 2, undefined, 8],
      ["batch", 2, "past", 8],
    ]);
  });

  test("cuts a node with several outputs at one of them", () => {
    const part = extractSubgraph(chain(), {
      inputs: [info("left"), info("h")],
      outputs: [info("a")],
    });
    expect(names(part.graph.inputs)).toEqual(["left", "h", "mask"]);
    const split = part.graph.nodes.find(({ opType }) => opType === "Split");
    expect(split?.outputs).toEqual(["left_2", "right"]);
    expect(split?.attributes.get("num_outputs")).toEqual(attribute.int(2));
    expect(part.graph.producer("left")).toBeUndefined();
  });

  test("turns an initializer into an input", () => {
    const part = extractSubgraph(chain(), { inputs: [info("a"), info("v")], outputs: [info("y")] });
    expect(names(part.graph.inputs)).toEqual(["a", "v"]);
    expect(part.graph.initializers.size).toBe(0);
  });

  test("keeps listed inputs that nothing needs, and several outputs", () => {
    const part = extractSubgraph(chain(), {
      inputs: [info("mask"), info("x")],
      outputs: [info("h"), info("left")],
    });
    expect(names(part.graph.inputs)).toEqual(["mask", "x"]);
    expect(names(part.graph.outputs)).toEqual(["h", "left"]);
    expect(names(part.graph.nodes)).toEqual(["first", "split"]);
  });

  test("follows what subgraphs read", () => {
    const body = graph().input("h", "float32").node("Relu", ["h"], ["r"]).output("r").model();
    const branch = attribute.subgraph(body, ["h"]);
    const model = graph()
      .input("x", "float32")
      .input("c", "bool")
      .node("Neg", ["x"], ["h"], {}, "maker")
      .node("If", ["c"], ["y"], { then_branch: branch, else_branch: branch }, "choose")
      .output("y")
      .model();
    expect(names(extractSubgraph(model, { inputs: [], outputs: [info("y")] }).graph.nodes)).toEqual(
      ["maker", "choose"],
    );
    const cut = extractSubgraph(model, { inputs: [info("h")], outputs: [info("y")] });
    expect(names(cut.graph.nodes)).toEqual(["choose"]);
    expect(names(cut.graph.inputs)).toEqual(["h", "c"]);
  });

  test("refuses names that are no values", () => {
    expect(() => extractSubgraph(chain(), { inputs: [], outputs: [info("zzz")] })).toThrow(
      /no value "zzz"/,
    );
  });
});
