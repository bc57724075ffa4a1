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

/** Oldest opset whose operators the bodies use: NonZero, and Cast as it is since. */
export const packedOpset = 9;

/** What a function body depends on; everything else is read from shapes and attributes. */
export interface PackedVariant {
  readonly bits: number;
  /** The zero point of all blocks, or "stored" when each block has its own. */
  readonly zeroPoint: number | "stored";
  /** True when a row's streams hold more codes than K. */
  readonly ragged: boolean;
  /** Main graph's opset, by which ONNX Runtime reads the body. */
  readonly opset: number;
  /** K, for opsets in which no constant can take its value from an attribute (below 12). */
  readonly columns: number;
  /** B, for opsets in which Slice has no inputs (below 10). */
  readonly blocks: number;
}

const bakesColumns = ({ opset }: PackedVariant) => opset < 12;
const bakesBlocks = ({ opset, zeroPoint }: PackedVariant) => opset < 10 && zeroPoint === "stored";

/** Bodies cannot branch on attributes, so the name says which of them it is. */
function functionName(
  kind: "MatMulPacked" | "GatherPacked" | "Unpacked",
  variant: PackedVariant,
): string {
  const { bits, zeroPoint, ragged, columns, blocks } = variant;
  const readsColumns = ragged || kind === "GatherPacked";
  return [
    `${kind}${bits}`,
    zeroPoint === "stored" ? "" : zeroPoint === 2 ** (bits - 1) ? "Symmetric" : `Zero${zeroPoint}`,
    ragged ? "Ragged" : "",
    readsColumns && bakesColumns(variant) ? `K${columns}` : "",
    bakesBlocks(variant) ? `B${blocks}` : "",
  ].join("");
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

  /** K of the calling node as an int64 [1]. */
  columns(variant: PackedVariant): string {
    if (bakesColumns(variant)) return this.int64(variant.columns);
    const scalar = this.op("Constant", [], { value_int: attribute.reference("K", "int") });
    return this.op("Reshape", [scalar, this.int64(1)]);
  }

  /** The first elements along one axis. */
  first(value: string, axis: number, count: number, opset: number): string {
    if (opset >= 10) {
      return this.op("Slice", [value, this.int64(0), this.int64(count), this.int64(axis)]);
    }
    const [starts, ends, axes] = [[0], [count], [axis]].map(attribute.ints);
    return this.op("Slice", [value], { starts, ends, axes });
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
function unpackedZeroPoints(
  body: Body,
  packed: string,
  scales: string,
  variant: PackedVariant,
): string {
  const { bits, blocks, opset } = variant;
  // The bytes of a row need not be whole groups; `bits` copies of the row are, and the copies are cut off again.
  const copies = body.op("Concat", Array<string>(bits).fill(packed), { axis: attribute.int(1) });
  const codes = unpacked(body, body.op("Reshape", [copies, body.int64(0, -1, bits)]), bits);
  const rows = body.op("Reshape", [codes, body.int64(0, -1)]);
  const used = bakesBlocks(variant)
    ? body.first(rows, 1, blocks, opset)
    : body.op("Slice", [rows, body.int64(0, 0), body.op("Shape", [scales])]);
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
function dequantized(body: Body, streams: Streams, variant: PackedVariant): string {
  const { bits, zeroPoint } = variant;
  const { scales, zeroPoints, groupShape } = streams;
  const codes = unpacked(body, body.op("Reshape", [streams.codes, groupShape]), bits);
  const zero =
    zeroPoint === "stored"
      ? unpackedZeroPoints(body, zeroPoints, scales, variant)
      : body.float(zeroPoint);
  return body.op("Mul", [body.op("Sub", [codes, zero]), perBlock(body, body.toFloat(scales))]);
}

/** [rows, B, groups, 8] as [rows, K], without the padding of a ragged last block. */
function flattened(body: Body, values: string, variant: PackedVariant): string {
  const flat = body.op("Reshape", [values, body.int64(0, -1)]);
  if (!variant.ragged) return flat;
  if (variant.opset < 10) return body.first(flat, 1, variant.columns, variant.opset);
  return body.op("Slice", [flat, body.int64(0), body.columns(variant), body.int64(1)]);
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
  functionBody: "folded" | "packed",
): FunctionSpec {
  const body = new Body();
  const weight = wholeMatrix(body, variant, functionBody);
  body.op("MatMul", ["A", body.op("Transpose", [weight])], {}, "Y");
  return {
    domain: bitloomDomain,
    name: functionName("MatMulPacked", variant),
    inputs: ["A", ...operandNames(variant)],
    outputs: ["Y"],
    attributes: attributeNames,
    nodes: body.nodes,
    opsets: new Map([["", variant.opset]]),
    doc: "Y = A * transpose(scale * (code - zero_point)), codes as LSB-first bitstreams per block.",
  };
}

/**
 * Y = Ŵ [N, K] from the same tensors.
 *
 * @param functionBody - see `matMulPackedFunction`; "packed" bodies have the activation A as a further input, the last.
 */
export function unpackedFunction(
  variant: PackedVariant,
  functionBody: "folded" | "packed",
): FunctionSpec {
  const body = new Body();
  body.op("Identity", [wholeMatrix(body, variant, functionBody)], {}, "Y");
  return {
    domain: bitloomDomain,
    name: functionName("Unpacked", variant),
    inputs: [...operandNames(variant), ...(functionBody === "packed" ? ["A"] : [])],
    outputs: ["Y"],
    attributes: attributeNames,
    nodes: body.nodes,
    opsets: new Map([["", variant.opset]]),
    doc: "Y = scale * (code - zero_point), codes as LSB-first bitstreams per block.",
  };
}

/** All rows of the weight, float32 [N, K]. */
function wholeMatrix(
  body: Body,
  variant: PackedVariant,
  functionBody: "folded" | "packed",
): string {
  const shape = body.int64(0, 0, -1, variant.bits);
  const streams: Streams = {
    codes: "B",
    scales: "scales",
    zeroPoints: "zero_points",
    groupShape:
      functionBody === "folded" ? shape : body.op("Add", [shape, zeroOf(body, "A", variant)]),
  };
  return flattened(body, dequantized(body, streams, variant), variant);
}

/**
 * A zero, int64 [1], that the runtime cannot know before it sees the numbers of `value` [.., K]. Its shape alone is not
 * enough: where the model declares it, ONNX Runtime folds all that follows from it.
 */
function zeroOf(body: Body, value: string, { opset }: PackedVariant): string {
  const column = body.first(value, -1, 1, opset);
  const count = body.op("Gather", [
    body.op("Shape", [body.op("NonZero", [column])]),
    body.int64(1),
  ]);
  return body.op("Sub", [count, count]);
}

/** Y = Ŵ[indices] [.., K] from the same tensors; unpacks the gathered rows only. Negative indices count from the end. */
export function gatherPackedFunction(variant: PackedVariant): FunctionSpec {
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
  const rows = variant.ragged ? flattened(body, values, variant) : values;
  const shape = [body.op("Shape", ["indices"]), body.columns(variant)];
  body.op("Reshape", [rows, body.op("Concat", shape, { axis: attribute.int(0) })], {}, "Y");
  return {
    domain: bitloomDomain,
    name: functionName("GatherPacked", variant),
    inputs: ["indices", ...operandNames(variant)],
    outputs: ["Y"],
    attributes: attributeNames,
    nodes: body.nodes,
    opsets: new Map([["", variant.opset]]),
    doc: "Y = rows of scale * (code - zero_point) by index, codes as LSB-first bitstreams per block.",
  };
}
