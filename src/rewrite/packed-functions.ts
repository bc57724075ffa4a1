/**
 * Bodies of the model-local functions that unpack bitstreams with standard operators. Not here: when they are used.
 *
 * Every 8 codes fill exactly `bits` bytes, so a stream is a matrix with `bits` columns, and one product with a constant
 * matrix of powers of two moves the bits of code j to the front: t_j = ⌊Σ_i byte_i · 2^(8i − bits·j)⌋ over the one or
 * two bytes i that hold code j; code_j = t_j mod 2^bits. At most 16 significant bits: exact in float32, in any order.
 *
 * Invariant: few nodes. ONNX Runtime inlines every call and opens a model in time that is quadratic in its nodes:
 * 160 asymmetric 3-bit layers of 64 × 24 took 11–25 s with bodies of twice the length.
 */
import { bytesOf } from "../core/tensor.ts";
import { attribute, type FunctionSpec, memoryTensor, type NodeSpec } from "../onnx/index.ts";

export const bitloomDomain = "bitloom";

/** Codes that are unpacked together; their bits fill whole bytes at every width. */
export const codesPerGroup = 8;

/** What a function body depends on; everything else is read from shapes and attributes. */
export interface PackedVariant {
  readonly bits: number;
  /** The zero point of all blocks, or "stored" when each block has its own. */
  readonly zeroPoint: number | "stored";
  /** True when a row's streams hold more codes than K. */
  readonly ragged: boolean;
}

/** Bodies cannot branch on attributes, so the name says which of them it is. */
function functionName(stem: string, { bits, zeroPoint, ragged }: PackedVariant): string {
  const middle = zeroPoint === 2 ** (bits - 1) ? "Symmetric" : `Zero${zeroPoint}`;
  return `${stem}${bits}${zeroPoint === "stored" ? "" : middle}${ragged ? "Ragged" : ""}`;
}

/** Oldest opset whose operators the bodies use: Slice with inputs (10), Constant with a referenced integer (12). */
export function packedOpset(kind: "multiply" | "gather", ragged: boolean): number {
  return kind === "gather" || ragged ? 12 : 10;
}

/** Collects the nodes of a body; every node has one output. Equal constants are one node. */
class Body {
  readonly nodes: NodeSpec[] = [];
  readonly #constants = new Map<string, string>();

  op(
    opType: string,
    inputs: readonly string[],
    attributes: NonNullable<NodeSpec["attributes"]> = {},
    output = `v${this.nodes.length}`,
  ): string {
    const name = `n${this.nodes.length}`;
    this.nodes.push({ name, opType, inputs, outputs: [output], attributes });
    return output;
  }

  int64(...values: number[]): string {
    const data = BigInt64Array.from(values, BigInt);
    return this.#constant("int64", [values.length], data);
  }

  float(value: number): string {
    return this.#constant("float32", [], Float32Array.of(value));
  }

  matrix(rows: number, columns: number, value: (row: number, column: number) => number): string {
    const at = (_: unknown, i: number) => value(Math.floor(i / columns), i % columns);
    return this.#constant(
      "float32",
      [rows, columns],
      Float32Array.from({ length: rows * columns }, at),
    );
  }

  #constant(dtype: "int64" | "float32", shape: readonly number[], data: ArrayBufferView): string {
    const key = `${dtype} ${shape} ${bytesOf(data)}`;
    const value = attribute.tensor(memoryTensor("value", dtype, shape, data));
    const name = this.#constants.get(key) ?? this.op("Constant", [], { value });
    this.#constants.set(key, name);
    return name;
  }

  toFloat(value: string): string {
    return this.op("Cast", [value], { to: attribute.int(1) });
  }

  /** The calling node's integer attribute as an int64 [1]. */
  attribute(name: string): string {
    const scalar = this.op("Constant", [], { value_int: attribute.reference(name, "int") });
    return this.op("Reshape", [scalar, this.int64(1)]);
  }
}

/** Codes as float32 [.., 8] from whole groups of stream bytes, uint8 [.., bits]. */
function unpacked(body: Body, groups: string, bits: number): string {
  const weights = body.matrix(bits, codesPerGroup, (byte, code) => {
    const exponent = 8 * byte - bits * code;
    return exponent > -8 && exponent < bits ? 2 ** exponent : 0;
  });
  const moved = body.op("Floor", [body.op("MatMul", [body.toFloat(groups), weights])]);
  const above = body.op("Floor", [body.op("Mul", [moved, body.float(2 ** -bits)])]);
  return body.op("Sub", [moved, body.op("Mul", [above, body.float(2 ** bits)])]);
}

/** Per-block values [rows, B] as [rows, B, 1, 1], to be broadcast over the codes of a block. */
const perBlock = (body: Body, values: string) =>
  body.op("Reshape", [values, body.int64(0, 0, 1, 1)]);

/** Zero points as float32 [rows, B, 1, 1] from their packed rows uint8 [rows, ceil(B · bits / 8)]. */
function unpackedZeroPoints(body: Body, packed: string, scales: string, bits: number): string {
  // The bytes of a row need not be whole groups; `bits` copies of the row are, and the copies are cut off again.
  const copies = body.op("Concat", Array<string>(bits).fill(packed), { axis: attribute.int(1) });
  const codes = unpacked(body, body.op("Reshape", [copies, body.int64(0, -1, bits)]), bits);
  const rows = body.op("Reshape", [codes, body.int64(0, -1)]);
  const used = body.op("Slice", [rows, body.int64(0, 0), body.op("Shape", [scales])]);
  return perBlock(body, used);
}

interface Streams {
  /** uint8 [rows, B, bytes]. */
  readonly codes: string;
  /** float16 or float32 [rows, B]. */
  readonly scales: string;
  /** uint8 [rows, ceil(B · bits / 8)]. */
  readonly zeroPoints: string;
  /** Shape [0, 0, −1, bits] that cuts the streams into groups. */
  readonly groupShape: string;
}

/** (codes − zero points) · scales as float32 [rows, B, groups, 8]. */
function dequantized(body: Body, streams: Streams, { bits, zeroPoint }: PackedVariant): string {
  const { scales, zeroPoints, groupShape } = streams;
  const codes = unpacked(body, body.op("Reshape", [streams.codes, groupShape]), bits);
  const zero =
    zeroPoint === "stored"
      ? unpackedZeroPoints(body, zeroPoints, scales, bits)
      : body.float(zeroPoint);
  return body.op("Mul", [body.op("Sub", [codes, zero]), perBlock(body, body.toFloat(scales))]);
}

/** [rows, B, groups, 8] as [rows, columns], without the padding of a ragged last block. */
function flattened(body: Body, values: string, ragged: boolean): string {
  const flat = body.op("Reshape", [values, body.int64(0, -1)]);
  if (!ragged) return flat;
  return body.op("Slice", [flat, body.int64(0), body.attribute("K"), body.int64(1)]);
}

const attributeNames = ["K", "N", "bits", "block_size"];
const operandNames = (variant: PackedVariant) => [
  "B",
  "scales",
  ...(variant.zeroPoint === "stored" ? ["zero_points"] : []),
];

/**
 * Y = A · Ŵᵀ from A [.., K], B uint8 [N, blocks, bytes], scales [N, blocks], zero_points uint8 [N, bytes].
 *
 * @param functionBody - "folded": the weights depend on constants only and the runtime unpacks them once, at load, into
 *   float32; "packed": they depend on A, stay packed in memory and are unpacked on every run.
 */
export function matMulPackedFunction(
  variant: PackedVariant,
  opset: number,
  functionBody: "folded" | "packed",
): FunctionSpec {
  const body = new Body();
  const shape = body.int64(0, 0, -1, variant.bits);
  const streams: Streams = {
    codes: "B",
    scales: "scales",
    zeroPoints: "zero_points",
    groupShape: functionBody === "folded" ? shape : body.op("Add", [shape, zeroOf(body, "A")]),
  };
  const weight = flattened(body, dequantized(body, streams, variant), variant.ragged);
  body.op("MatMul", ["A", body.op("Transpose", [weight])], {}, "Y");
  return {
    domain: bitloomDomain,
    name: functionName("MatMulPacked", variant),
    inputs: ["A", ...operandNames(variant)],
    outputs: ["Y"],
    attributes: attributeNames,
    nodes: body.nodes,
    opsets: new Map([["", opset]]),
    doc: "Y = A * transpose(scale * (code - zero_point)), codes as LSB-first bitstreams per block.",
  };
}

/**
 * A zero, int64 [1], that the runtime cannot know before it sees the numbers of `value` [.., K]. Its shape alone is not
 * enough: where the model declares it, ONNX Runtime folds all that follows from it.
 */
function zeroOf(body: Body, value: string): string {
  const column = body.op("Slice", [value, body.int64(0), body.int64(1), body.int64(-1)]);
  const count = body.op("Gather", [
    body.op("Shape", [body.op("NonZero", [column])]),
    body.int64(1),
  ]);
  return body.op("Sub", [count, count]);
}

/** Y = Ŵ[indices] [.., K] from the same tensors; unpacks the gathered rows only. Negative indices count from the end. */
export function gatherPackedFunction(variant: PackedVariant, opset: number): FunctionSpec {
  const body = new Body();
  const index = body.op("Reshape", ["indices", body.int64(-1)]);
  const rowsOf = (table: string) => body.op("Gather", [table, index]);
  const streams: Streams = {
    codes: rowsOf("B"),
    scales: rowsOf("scales"),
    zeroPoints: variant.zeroPoint === "stored" ? rowsOf("zero_points") : "",
    groupShape: body.int64(0, 0, -1, variant.bits),
  };
  const values = dequantized(body, streams, variant);
  const rows = variant.ragged ? flattened(body, values, true) : values;
  const shape = [body.op("Shape", ["indices"]), body.attribute("K")];
  body.op("Reshape", [rows, body.op("Concat", shape, { axis: attribute.int(0) })], {}, "Y");
  return {
    domain: bitloomDomain,
    name: functionName("GatherPacked", variant),
    inputs: ["indices", ...operandNames(variant)],
    outputs: ["Y"],
    attributes: attributeNames,
    nodes: body.nodes,
    opsets: new Map([["", opset]]),
    doc: "Y = rows of scale * (code - zero_point) by index, codes as LSB-first bitstreams per block.",
  };
}
