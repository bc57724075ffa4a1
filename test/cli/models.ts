/** Small models written as raw protobuf, so that they can be wrong in every way. */
import { type Field, message, nodeProto, tensorProto } from "../onnx/raw-message.ts";

const width = 32;

/** ValueInfoProto of a tensor with a shape. */
export function typed(name: string, dims: readonly (number | string)[], type = 1): Uint8Array {
  const shape = dims.map(
    (dim): Field => [1, message(typeof dim === "number" ? [1, dim] : [2, dim])],
  );
  return message([1, name], [2, message([1, message([1, type], [2, message(...shape)])])]);
}

/** A float initializer [32, 32] of reproducible values. */
export function weight(name: string): Uint8Array {
  const data = Float32Array.from({ length: width * width }, (_, i) =>
    Math.sin(i * 1.7 + name.length),
  );
  return tensorProto(name, 1, [width, width], [9, new Uint8Array(data.buffer)]);
}

export const matMul = (x: string, w: string, y: string): Uint8Array =>
  nodeProto("MatMul", [x, w], [y], [3, `${y}/MatMul`]);

/** ModelProto of IR 8 with one opset of ai.onnx and these GraphProto fields. */
export const model = (opset: number, ...graph: readonly Field[]): Uint8Array =>
  message([1, 8], [8, message([1, ""], [2, opset])], [7, message([2, "g"], ...graph)]);

const ends: readonly Field[] = [
  [11, typed("x", [2, width])],
  [12, typed("y", [2, width])],
];

/** x [2, 32] → MatMul → Relu → MatMul → y [2, 32]. */
export function twoLayers(extra: readonly Field[] = [], opset = 18): Uint8Array {
  return model(
    opset,
    [1, matMul("x", "w1", "h")],
    [1, nodeProto("Relu", ["h"], ["r"])],
    [1, matMul("r", "w2", "y")],
    [5, weight("w1")],
    [5, weight("w2")],
    ...ends,
    ...extra,
  );
}

/** A value that depends on itself. */
export const cyclic = (): Uint8Array =>
  model(
    18,
    [1, nodeProto("Add", ["x", "b"], ["a"], [3, "one"])],
    [1, nodeProto("Relu", ["a"], ["b"], [3, "two"])],
    [1, matMul("x", "w1", "y")],
    [5, weight("w1")],
    ...ends,
  );

/** A node of an operator set that nobody knows. */
export function unknownOperator(): Uint8Array {
  const opsets: Field[] = [
    [8, message([1, ""], [2, 18])],
    [8, message([1, "com.example"], [2, 1])],
  ];
  const graph: Field[] = [
    [1, matMul("x", "w1", "h")],
    [1, nodeProto("Teleport", ["h"], ["y"], [7, "com.example"])],
    [5, weight("w1")],
    ...ends,
  ];
  return message([1, 8], ...opsets, [7, message([2, "g"], ...graph)]);
}

/** The second layer's weight belongs to the graph inputs too. */
export const overridable = (): Uint8Array => twoLayers([[11, typed("w2", [width, width])]]);

/** Inner shapes of another batch and width than the graph computes. */
export const staleShapes = (): Uint8Array => twoLayers([[13, typed("h", [64, 64])]]);

/** An inner shape of another rank: ONNX Runtime refuses such a model. */
export const staleRank = (): Uint8Array =>
  twoLayers([
    [13, typed("h", [7, 5, 3])],
    [13, typed("r", [64, 64])],
  ]);

/** w2 is multiplied in the main graph and read in both branches of an If. */
export function weightInBranch(): Uint8Array {
  const branch = (name: string) =>
    message([1, matMul("h", "w2", name)], [2, name], [12, typed(name, [2, width])]);
  const attribute = (name: string, output: string): Field => [
    5,
    message([1, name], [6, branch(output)], [20, 5]),
  ];
  return model(
    18,
    [1, matMul("x", "w1", "h")],
    [
      1,
      nodeProto(
        "If",
        ["choice"],
        ["chosen"],
        [3, "choose"],
        attribute("then_branch", "t"),
        attribute("else_branch", "e"),
      ),
    ],
    [1, matMul("h", "w2", "z")],
    [1, nodeProto("Add", ["chosen", "z"], ["y"])],
    [5, weight("w1")],
    [5, weight("w2")],
    [11, typed("choice", [1], 9)],
    ...ends,
  );
}

/** Embedding and head over eight tokens. */
export const eightTokens = (): Uint8Array =>
  model(
    18,
    [1, nodeProto("Gather", ["table", "input_ids"], ["h"], [3, "embed"])],
    [1, matMul("h", "head", "logits")],
    [5, tensorProto("table", 1, [8, width], [9, new Uint8Array(4 * 8 * width)])],
    [5, tensorProto("head", 1, [width, 8], [9, new Uint8Array(4 * 8 * width)])],
    [11, typed("input_ids", ["batch", "sequence"], 7)],
    [12, typed("logits", ["batch", "sequence", 8])],
  );

/** Only a ConvTranspose: nothing to quantize. */
export const onlyTransposedConv = (): Uint8Array =>
  model(
    18,
    [1, nodeProto("ConvTranspose", ["x", "k"], ["y"], [3, "conv"])],
    [5, tensorProto("k", 1, [3, 4, 1, 1], [9, new Uint8Array(48)])],
    [11, typed("x", [1, 3, 8, 8])],
    [12, typed("y", [1, 4, 8, 8])],
  );
