/**
 * Bodies of the model-local functions that unpack bitstreams with standard operators.
 *
 * Field j of a stream: low = ⌊j·bits / 8⌋, shift = j·bits mod 8, v = byte[low] + 256·byte[low + straddle],
 * code = ⌊v / 2^shift⌋ mod 2^bits, where straddle = 1 when the field reaches into the next byte. All exact in float32.
 */
import type { WeightFormat } from "../core/format.ts";
import { bytesOf } from "../core/tensor.ts";
import { attribute, type FunctionSpec, memoryTensor, type NodeSpec } from "../onnx/index.ts";

export const bitloomDomain = "bitloom";

/** Collects the nodes of a body; every node has one output, named after its position. */
class Body {
  readonly nodes: NodeSpec[] = [];

  op(
    opType: string,
    inputs: readonly string[],
    attributes: NonNullable<NodeSpec["attributes"]> = {},
    output = `v${this.nodes.length}`,
  ): string {
    this.nodes.push({
      name: `n${this.nodes.length}`,
      opType,
      inputs,
      outputs: [output],
      attributes,
    });
    return output;
  }

  int64(values: readonly number[], shape: readonly number[] = [values.length]): string {
    const bytes = bytesOf(BigInt64Array.from(values, BigInt));
    return this.op("Constant", [], {
      value: attribute.tensor(memoryTensor("value", "int64", shape, bytes)),
    });
  }

  float(value: number): string {
    const bytes = bytesOf(Float32Array.of(value));
    return this.op("Constant", [], {
      value: attribute.tensor(memoryTensor("value", "float32", [], bytes)),
    });
  }

  toFloat(value: string): string {
    return this.op("Cast", [value], { to: attribute.int(1) });
  }

  /** The calling node's integer attribute as an int64 [1]. */
  attribute(name: string): string {
    return this.op("Reshape", [
      this.op("Constant", [], { value_int: attribute.reference(name, "int") }),
      this.int64([1]),
    ]);
  }

  dimension(value: string, axis: number): string {
    return this.op("Gather", [this.op("Shape", [value]), this.int64([axis])], {
      axis: attribute.int(0),
    });
  }
}

/**
 * Codes of `streams` [.., bytes] (rank `axis` + 1, uint8) as float32 [.., bytes · 8 / bits].
 *
 * @param bits - int64 [1] holding the width; the packed body makes it depend on the activation, which keeps the
 *   runtime from unpacking everything when it loads the model.
 */
function unpack(body: Body, streams: string, axis: number, width: number, bits: string): string {
  const eight = body.int64([8]);
  const streamBits = body.op("Mul", [body.dimension(streams, axis), eight]);
  const scalar = body.op("Constant", [], { value: attribute.tensor(int64Vector([])) });
  const count = body.op("Reshape", [body.op("Div", [streamBits, bits]), scalar]);
  const field = body.op("Range", [body.int64([0], []), count, body.int64([1], [])]);
  const position = body.op("Mul", [field, bits]);
  const low = body.op("Div", [position, eight]);
  const shift = body.op("Sub", [position, body.op("Mul", [low, eight])]);
  const straddle = body.op("Div", [body.op("Add", [shift, body.int64([width - 1])]), eight]);
  const bytes = body.toFloat(streams);
  const at = (index: string) => body.op("Gather", [bytes, index], { axis: attribute.int(axis) });
  const next = at(body.op("Add", [low, straddle]));
  const word = body.op("Add", [at(low), body.op("Mul", [next, body.float(256)])]);
  const divisor = body.op("Pow", [body.float(2), body.toFloat(shift)]);
  const shifted = body.op("Floor", [body.op("Div", [word, divisor])]);
  const overflow = body.op("Floor", [body.op("Mul", [shifted, body.float(2 ** -width)])]);
  return body.op("Sub", [shifted, body.op("Mul", [overflow, body.float(2 ** width)])]);
}

const int64Vector = (values: readonly number[]) =>
  memoryTensor("value", "int64", [values.length], bytesOf(BigInt64Array.from(values, BigInt)));

/** Zero points per block as float32 [rows, B, 1], from their packed rows; or the constant one. */
function zeroPoints(
  body: Body,
  packed: string | undefined,
  scales: string,
  width: number,
  bits: string,
  zero: number,
): string {
  if (packed === undefined) return body.float(zero);
  const all = unpack(body, packed, 1, width, bits);
  // The last byte of a row may hold more fields than there are blocks.
  const used = body.op("Slice", [all, body.int64([0]), body.dimension(scales, 1), body.int64([1])]);
  return body.op("Reshape", [used, perBlock(body, scales)]);
}

/** Shape [rows, B, 1] of per-block values, from scales [rows, B]. */
const perBlock = (body: Body, scales: string) =>
  body.op("Concat", [body.op("Shape", [scales]), body.int64([1])], { axis: attribute.int(0) });

/** (codes − zero points) · scales as float32 [rows, columns]. */
function dequantized(
  body: Body,
  streams: { codes: string; scales: string; zeroPoints: string | undefined },
  columns: string,
  width: number,
  bits: string,
  zero: number,
): string {
  const codes = unpack(body, streams.codes, 2, width, bits);
  const points = zeroPoints(body, streams.zeroPoints, streams.scales, width, bits, zero);
  const scales = body.op("Reshape", [body.toFloat(streams.scales), perBlock(body, streams.scales)]);
  const values = body.op("Mul", [body.op("Sub", [codes, points]), scales]);
  const rows = body.dimension(streams.codes, 0);
  const flat = body.op("Reshape", [
    values,
    body.op("Concat", [rows, body.int64([-1])], { axis: attribute.int(0) }),
  ]);
  return body.op("Slice", [flat, body.int64([0]), columns, body.int64([1])]);
}

const attributeNames = ["K", "N", "bits", "block_size"];

/**
 * Y = A · Ŵᵀ from A [.., K], codes uint8 [N, B, bytes], scales [N, B], zero_points uint8 [N, bytes].
 *
 * @param functionBody - "folded": the body touches constants only and the runtime unpacks once, at load, into float32;
 *   "packed": it depends on A, stays packed in memory and unpacks on every run.
 */
export function matMulPackedFunction(
  format: WeightFormat,
  opset: number,
  functionBody: "folded" | "packed",
): FunctionSpec {
  const body = new Body();
  const width = format.bits;
  const bits =
    functionBody === "folded"
      ? body.int64([width])
      : body.op("Add", [
          body.op("Mul", [body.dimension("A", 0), body.int64([0])]),
          body.int64([width]),
        ]);
  const columns = functionBody === "folded" ? body.attribute("K") : lastDimension(body, "A");
  const zero = format.symmetric ? undefined : "zero_points";
  const streams = { codes: "B", scales: "scales", zeroPoints: zero };
  const weight = dequantized(body, streams, columns, width, bits, 2 ** (width - 1));
  body.op("MatMul", ["A", body.op("Transpose", [weight])], {}, "Y");
  return {
    domain: bitloomDomain,
    name: `MatMulPacked${width}${format.symmetric ? "Symmetric" : ""}`,
    inputs: ["A", "B", "scales", ...(zero ? [zero] : [])],
    outputs: ["Y"],
    attributes: attributeNames,
    nodes: body.nodes,
    opsets: new Map([["", opset]]),
    doc: "Y = A * transpose(scale * (code - zero_point)), codes as LSB-first bitstreams per block.",
  };
}

/** Last dimension of a value as int64 [1]. */
function lastDimension(body: Body, value: string): string {
  const shape = body.op("Shape", [value]);
  return body.op("Slice", [shape, body.int64([-1]), body.int64([2 ** 31]), body.int64([0])]);
}

/** Rows Ŵ[indices] [.., K] from the same tensors; unpacks the gathered rows only. */
export function gatherPackedFunction(
  field: { readonly bits: number; readonly symmetric: boolean; readonly zero: number },
  opset: number,
): FunctionSpec {
  const body = new Body();
  const { bits: width, symmetric, zero } = field;
  const flat = body.op("Reshape", ["indices", body.int64([-1])]);
  const rowsOf = (table: string) => body.op("Gather", [table, flat], { axis: attribute.int(0) });
  const streams = {
    codes: rowsOf("B"),
    scales: rowsOf("scales"),
    zeroPoints: symmetric ? undefined : rowsOf("zero_points"),
  };
  const columns = body.attribute("K");
  const rows = dequantized(body, streams, columns, width, body.int64([width]), zero);
  const shape = body.op("Concat", [body.op("Shape", ["indices"]), columns], {
    axis: attribute.int(0),
  });
  body.op("Reshape", [rows, shape], {}, "Y");
  const standard = zero === 2 ** (width - 1);
  return {
    domain: bitloomDomain,
    name: `GatherPacked${width}${symmetric ? (standard ? "Symmetric" : `Zero${zero}`) : ""}`,
    inputs: ["indices", "B", "scales", ...(symmetric ? [] : ["zero_points"])],
    outputs: ["Y"],
    attributes: attributeNames,
    nodes: body.nodes,
    opsets: new Map([["", opset]]),
    doc: "Y = rows of scale * (code - zero_point) by index, codes as LSB-first bitstreams per block.",
  };
}
