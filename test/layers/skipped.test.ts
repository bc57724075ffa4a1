import { describe, expect, test } from "vitest";
import { attribute } from "../../src/onnx/index.ts";
import { type GraphBuilder, graph } from "../support/graph-builder.ts";
import { cast, cols, found, ints, perm, rows, start, stored } from "./samples.ts";

const reasons = (builder: GraphBuilder) =>
  found(builder).skipped.map(({ name, reason }) => `${name}: ${reason}`);

describe("every node passed over has its reason", () => {
  const product = (b: GraphBuilder, weight = "w") =>
    b.node("MatMul", ["x", weight], ["y"], {}, "l");
  const cases: readonly (readonly [string, () => GraphBuilder])[] = [
    [
      "l: its constant operand is on the left",
      () => start().input("b", "float32", [cols, "n"]).node("MatMul", ["w", "b"], ["y"], {}, "l"),
    ],
    [
      "l: its constant operand is on the left",
      () => start().input("b", "float32", [cols, "n"]).node("Gemm", ["w", "b"], ["y"], {}, "l"),
    ],
    [
      "l: both operands are computed at run time",
      () => start().node("MatMul", ["x", "x2"], ["y"], {}, "l"),
    ],
    [
      "l: both operands are computed at run time",
      () => start().node("Gemm", ["x", "x2"], ["y"], {}, "l"),
    ],
    [
      "l: both operands are constant",
      () =>
        start()
          .initializer("c", [1, rows], new Float32Array(rows))
          .node("MatMul", ["c", "w"], ["y"], {}, "l"),
    ],
    [
      'l: its weight "v" has 3 dimensions, not 2',
      () => product(start().initializer("v", [1, rows, cols], stored), "v"),
    ],
    [
      'l: its weight "v" has 3 dimensions, not 2',
      () =>
        product(
          start()
            .initializer("v", [1, cols, rows], stored)
            .node("Transpose", ["v"], ["t"], perm(0, 2, 1)),
          "t",
        ),
    ],
    [
      'l: its weight "v" is empty',
      () => product(start().initializer("v", [rows, 0], new Float32Array(0)), "v"),
    ],
    [
      'l: its weight "v" is int32; expected float32, float16, bfloat16',
      () => product(start().initializer("v", [rows, cols], new Int32Array(6)), "v"),
    ],
    [
      'l: its weight "v" is int8; expected float32, float16, bfloat16',
      () =>
        product(
          start()
            .initializer("v", [rows, cols], new Int8Array(6))
            .node("Cast", ["v"], ["c"], cast(1)),
          "c",
        ),
    ],
    [
      "l: both operands are computed at run time", // rounds: not the stored matrix
      () =>
        product(
          start().node("Cast", ["w"], ["i"], cast(6)).node("Cast", ["i"], ["c"], cast(1)),
          "c",
        ),
    ],
    [
      "l: its weight is already quantized (DequantizeLinear)",
      () =>
        product(
          start()
            .initializer("q", [cols, rows], new Int8Array(6))
            .initializer("s", [], Float32Array.of(1))
            .node("DequantizeLinear", ["q", "s"], ["d"])
            .node("Transpose", ["d"], ["t"]),
          "t",
        ),
    ],
    [
      "l: its weight is already quantized (MatMulNBits)",
      () =>
        start()
          .initializer("q", [2, 1, 8], new Uint8Array(16))
          .initializer("s", [2, 1], new Float32Array(2))
          .node("com.microsoft::MatMulNBits", ["x", "q", "s"], ["y"], ints("K", 3), "l"),
    ],
    [
      "l: operator com.microsoft::FusedMatMul is not supported",
      () => start().node("com.microsoft::FusedMatMul", ["x", "w"], ["y"], {}, "l"),
    ],
    [
      "l: operator LSTM is not supported",
      () =>
        start()
          .initializer("r", [1, 4, 1], new Float32Array(4))
          .node("LSTM", ["x", "w", "r"], ["y"], ints("hidden_size", 1), "l"),
    ],
    [
      "l: its table is computed at run time",
      () => start().node("Gather", ["x", "ids"], ["y"], {}, "l"),
    ],
    [
      "l: its indices are constant",
      () =>
        start()
          .initializer("first", [1], new BigInt64Array(1))
          .node("Gather", ["w", "first"], ["y"], {}, "l"),
    ],
    [
      "l: it gathers columns, not rows",
      () => start().node("Gather", ["w", "ids"], ["y"], ints("axis", 1), "l"),
    ],
    [
      'l: its weight "w" has 2 dimensions; expected 3 to 5',
      () => start().node("Conv", ["x", "w"], ["y"], {}, "l"),
    ],
    [
      'l: its weight "v" is behind a Transpose',
      () =>
        start()
          .initializer("v", [1, rows, cols], stored)
          .node("Transpose", ["v"], ["t"], perm(0, 2, 1))
          .node("Conv", ["x", "t"], ["y"], {}, "l"),
    ],
    [
      'l: its weight "v" is empty',
      () =>
        start()
          .initializer("v", [0, 1, 3], new Float32Array(0))
          .node("Conv", ["x", "v"], ["y"], {}, "l"),
    ],
    [
      "l: both operands are constant",
      () =>
        start()
          .initializer("v", [1, 1, 3], new Float32Array(3))
          .initializer("c", [1, 1, 3], new Float32Array(3))
          .node("Conv", ["c", "v"], ["y"], {}, "l"),
    ],
    [
      "l: its 3 output channels are no multiple of 2 groups",
      () =>
        start()
          .initializer("v", [3, 1, 2], stored)
          .node("Conv", ["x", "v"], ["y"], ints("group", 2), "l"),
    ],
    [
      "l: its weight is computed at run time",
      () =>
        graph()
          .input("x", "float32", [1, 1, 4])
          .input("w", "float32", [1, 1, 3])
          .node("Conv", ["x", "w"], ["y"], {}, "l"),
    ],
    [
      'l: its weight "w" is also a graph input, so a caller may replace it',
      () => product(start().input("w", "float32", [rows, cols])),
    ],
    ['l: its weight "w" is a graph output', () => product(start()).output("w", "float32")],
    [
      'l: its weight "w" is a graph output',
      () =>
        start()
          .node("Transpose", ["w"], ["t"])
          .node("MatMul", ["x2", "t"], ["y"], {}, "l")
          .output("t", "float32"),
    ],
    [
      'l: its weight "w" is also read by "other" (Relu), which needs it in float',
      () => product(start().node("Relu", ["w"], ["r"], {}, "other")).output("r", "float32"),
    ],
    [
      'l: its weight "w" is also read by "other" (Relu), which needs it in float',
      () =>
        start()
          .node("Cast", ["w"], ["c"], cast(1))
          .node("Relu", ["c"], ["r"], {}, "other")
          .node("MatMul", ["x", "c"], ["y"], {}, "l")
          .output("r", "float32"),
    ],
    [
      'l: its weight "v" is also read by "l" (Gemm), which needs it in float', // as its bias
      () =>
        start()
          .initializer("v", [rows, rows], new Float32Array(9))
          .node("Gemm", ["x", "v", "v"], ["y"], {}, "l"),
    ],
  ];
  test.each(cases)("%s", (reason, build) => {
    const { layers } = found(build());
    expect(layers).toEqual([]);
    expect(reasons(build())).toEqual([reason]);
  });

  test("readers that disagree on the orientation", () => {
    const builder = start()
      .initializer("v", [rows, rows], new Float32Array(9))
      .node("MatMul", ["x", "v"], ["a"], {}, "one")
      .node("Gemm", ["x", "v"], ["y"], ints("transB", 1), "two");
    const reason = 'the nodes that share weight "v" disagree on its orientation';
    expect(reasons(builder)).toEqual([`one: ${reason}`, `two: ${reason}`]);
  });

  test("a weight read inside the body of an If, and the If itself", () => {
    const branch = () =>
      graph()
        .input("w", "float32", [rows, cols])
        .node("Relu", ["w"], ["r"])
        .output("r", "float32")
        .model();
    const builder = start()
      .input("condition", "bool", [])
      .node("MatMul", ["x", "w"], ["y"], {}, "l")
      .node(
        "If",
        ["condition"],
        ["z"],
        {
          then_branch: attribute.subgraph(branch(), ["w"]),
          else_branch: attribute.subgraph(branch(), ["w"]),
        },
        "branch",
      );
    expect(reasons(builder)).toEqual([
      'l: its weight "w" is read inside a subgraph (If, Loop or Scan body)',
      "branch: its body is not searched: only the main graph is quantized",
    ]);
  });

  test("operators without weights need none", () => {
    const builder = start().node("Relu", ["x"], ["y"]);
    expect(found(builder)).toEqual({ layers: [], skipped: [] });
  });
});
