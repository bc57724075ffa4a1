/**
 * bitloom::MatMulPacked<bits>, GatherPacked<bits> and Unpacked<bits>: model-local functions whose bodies unpack the
 * bitstreams with standard operators, so any runtime computes the right answer; our own runtime recognises the node
 * and never runs the body. Attributes are named as MatMulNBits names them.
 */
import { blocksPerRow, effectiveBlockSize } from "../core/format.ts";
import { attribute, type FunctionSpec } from "../onnx/index.ts";
import type { Form, FormContext } from "./form.ts";
import {
  bitloomDomain,
  gatherPackedFunction,
  matMulPackedFunction,
  type PackedVariant,
  packedOpset,
  unpackedFunction,
} from "./packed-functions.ts";
import { columnsStored, storedCodes, storedScales, storedZeroPoints } from "./stored.ts";

export const matMulPacked: Form = {
  name: "MatMulPacked",
  stored: (layer, format) => [
    storedCodes(layer, format),
    storedScales(layer, format),
    ...storedZeroPoints(layer, format),
  ],
  multiply(context, activation, output) {
    const { functionBody, format } = context;
    const fn = matMulPackedFunction(variantOf(context, format.bits), functionBody);
    return call(context, fn, [activation, ...operands(context)], format.bits, output);
  },
  gather: gatherPacked,
  unpack(context, activation) {
    const { functionBody, format } = context;
    const fn = unpackedFunction(variantOf(context, format.bits), functionBody);
    const inputs = [...operands(context), ...(functionBody === "packed" ? [activation()] : [])];
    return call(context, fn, inputs, format.bits);
  },
};

/** Rows of a packed table; only the gathered rows are unpacked. */
export function gatherPacked(context: FormContext, indices: string, output?: string): string {
  const { format } = context;
  const fn = gatherPackedFunction(variantOf(context, format.bits));
  return call(context, fn, [indices, ...operands(context)], format.bits, output);
}

/** One bit field of a table that is stored as several. */
export interface TableField {
  readonly bits: number;
  /** Role of the stored codes. */
  readonly codes: string;
  /** Role of the stored zero points of an asymmetric format. */
  readonly zeroPoints: string;
  /** The zero point of a symmetric format. */
  readonly symmetricZero: number;
}

/** Rows of scale · (field − its zero point). */
export function gatherPackedField(
  context: FormContext,
  indices: string,
  field: TableField,
): string {
  const { format } = context;
  const { bits, symmetricZero } = field;
  const variant = {
    ...variantOf(context, bits),
    ...(format.symmetric && { zeroPoint: symmetricZero }),
  };
  const inputs = [indices, ...operands(context, field.codes, field.zeroPoints)];
  return call(context, gatherPackedFunction(variant), inputs, bits);
}

/** Why the functions cannot be used at this opset, or undefined when they can. */
export function whyNotPacked(opset: number): string | undefined {
  return opset < packedOpset
    ? `${bitloomDomain} functions need opset ${packedOpset}; the model imports ${opset}`
    : undefined;
}

function variantOf({ layer, format, opset }: FormContext, bits: number): PackedVariant {
  return {
    bits,
    zeroPoint: format.symmetric ? 2 ** (bits - 1) : "stored",
    ragged: columnsStored(layer, format) !== layer.k,
    opset,
    columns: layer.k,
    blocks: blocksPerRow(format, layer.k),
  };
}

function operands(
  { tensor, format }: FormContext,
  codes = "codes",
  zeroPoints = "zero_points",
): string[] {
  return [codes, "scales", ...(format.symmetric ? [] : [zeroPoints])].map(tensor);
}

function call(
  context: FormContext,
  fn: FunctionSpec,
  inputs: readonly string[],
  bits: number,
  output?: string,
): string {
  const { editor, layer, format, node } = context;
  editor.addOpset(bitloomDomain, 1);
  editor.addFunction(fn);
  const attributes = {
    K: attribute.int(layer.k),
    N: attribute.int(layer.n),
    bits: attribute.int(bits),
    block_size: attribute.int(effectiveBlockSize(format, layer.k)),
  };
  return node(fn.name, inputs, attributes, { domain: bitloomDomain, output });
}
