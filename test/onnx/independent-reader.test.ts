import { createRequire } from "node:module";
import { describe, expect, test } from "vitest";
import { attribute, encodeModel, memoryTensor, openModel } from "../../src/onnx/index.ts";
import { graph } from "../support/graph-builder.ts";

// onnx-proto describes IR 8 and is maintained by others: an independent second reader.
const { onnx } = createRequire(import.meta.url)("onnx-proto") as typeof import("onnx-proto");

const body = graph()
  .input("x", "float32")
  .node("Neg", ["x"], ["n"], {}, "inner")
  .output("n", "float32", [2])
  .model();

const built = graph({ opset: 17 })
  .input("x", "float32", ["batch", 2, undefined])
  .input("c", "bool", [])
  .initializer("w", [2, 2], Float32Array.of(1, 2, 3, 4))
  .node("If", ["c"], ["b"], {
    then_branch: attribute.subgraph(body, ["x"]),
    else_branch: attribute.subgraph(body, ["x"]),
  })
  .node(
    "com.microsoft::Op",
    ["b", "", "w"],
    ["y"],
    {
      i: attribute.int(-3),
      f: attribute.float(0.25),
      s: attribute.str("text"),
      is: attribute.ints([1, -2]),
      fs: attribute.floats([0.5]),
      ss: attribute.strings(["a", "b"]),
      t: attribute.tensor(memoryTensor("t", "int64", [1], BigInt64Array.of(-7n))),
    },
    "op",
  )
  .function({
    domain: "bitloom",
    name: "F",
    inputs: ["a"],
    outputs: ["b"],
    attributes: ["to"],
    nodes: [
      {
        name: "cast",
        opType: "Cast",
        inputs: ["a"],
        outputs: ["b"],
        attributes: { to: attribute.reference("to", "int") },
      },
    ],
    opsets: new Map([["", 17]]),
    doc: "casts",
  })
  .output("y", "float32", ["batch", 2])
  .model();

describe("onnx-proto reads what we write", () => {
  test("and finds every field in its place", async () => {
    const read = onnx.ModelProto.toObject(onnx.ModelProto.decode(await encodeModel(built)), {
      longs: Number,
      enums: String,
      arrays: false,
    });
    expect(read.irVersion).toBe(8);
    expect(read.producerName).toBe("bitloom");
    expect(read.opsetImport).toContainEqual({ domain: "", version: 17 });
    const [first, op] = read.graph.node;
    expect(first.attribute[0].g.node[0]).toEqual({
      name: "inner",
      opType: "Neg",
      input: ["x"],
      output: ["n"],
    });
    expect(first.attribute[0].g.input).toBeUndefined();
    expect(op).toMatchObject({
      name: "op",
      domain: "com.microsoft",
      input: ["b", "", "w"],
      output: ["y"],
    });
    const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
    const kinds = Object.fromEntries(
      op.attribute.map((item: { name: string }) => [item.name, item]),
    );
    expect(kinds.i).toMatchObject({ type: "INT", i: -3 });
    expect(kinds.f).toMatchObject({ type: "FLOAT", f: 0.25 });
    expect(kinds.s.type + text(kinds.s.s)).toBe("STRINGtext");
    expect(kinds.is).toMatchObject({ type: "INTS", ints: [1, -2] });
    expect(kinds.fs).toMatchObject({ type: "FLOATS", floats: [0.5] });
    expect(kinds.ss.strings.map(text)).toEqual(["a", "b"]);
    expect(kinds.t).toMatchObject({ type: "TENSOR", t: { dims: [1], dataType: 7, name: "t" } });
    const [weight] = read.graph.initializer;
    expect(weight).toMatchObject({ name: "w", dims: [2, 2], dataType: 1 });
    expect([...new Float32Array(new Uint8Array(weight.rawData).buffer)]).toEqual([1, 2, 3, 4]);
    expect(read.graph.input[0].type.tensorType).toEqual({
      elemType: 1,
      shape: { dim: [{ dimParam: "batch" }, { dimValue: 2 }, {}] },
    });
    const [fn] = read.functions;
    expect(fn).toMatchObject({
      name: "F",
      domain: "bitloom",
      input: ["a"],
      output: ["b"],
      attribute: ["to"],
      docString: "casts",
    });
    expect(fn.node[0].attribute[0]).toMatchObject({ name: "to", refAttrName: "to", type: "INT" });
  });
});

describe("we read what onnx-proto writes", () => {
  test("in its packed, typed style", async () => {
    const proto = onnx.ModelProto.encode({
      irVersion: 7,
      opsetImport: [{ domain: "", version: 13 }],
      metadataProps: [{ key: "k", value: "v" }],
      graph: {
        name: "g",
        node: [
          {
            opType: "Add",
            input: ["x", "w"],
            output: ["y"],
            attribute: [{ name: "a", type: 7, ints: [1, 2] }],
          },
        ],
        initializer: [{ name: "w", dims: [3], dataType: 1, floatData: [1, 2, 3] }],
        input: [
          { name: "x", type: { tensorType: { elemType: 1, shape: { dim: [{ dimValue: 3 }] } } } },
        ],
        output: [
          { name: "y", type: { sequenceType: { elemType: { tensorType: { elemType: 1 } } } } },
        ],
      },
    }).finish();
    const model = await openModel(proto);
    expect(model.graph.name).toBe("g");
    expect(Object.fromEntries(model.metadata)).toEqual({ k: "v" });
    expect(model.graph.nodes[0].attributes.get("a")).toEqual({ type: "ints", value: [1, 2] });
    const bytes = await model.graph.initializers.get("w")?.bytes();
    expect([...new Float32Array(bytes?.buffer as ArrayBuffer)]).toEqual([1, 2, 3]);
    expect(model.graph.outputs).toEqual([{ name: "y", dtype: undefined, shape: undefined }]);
    expect(await encodeModel(model)).toEqual(new Uint8Array(proto));
  });
});
