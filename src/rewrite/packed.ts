/**
 * bitloom::MatMulPacked<bits> and bitloom::GatherPacked<bits>: model-local functions whose bodies unpack the
 * bitstreams with standard operators, so any runtime computes the right answer; our own runtime recognises the node
 * and never runs the body. Attributes are named as MatMulNBits names them.
 *
 * The name carries the width, and "Symmetric" when there are no zero points, because a function body cannot branch on
 * an attribute. Bodies use operators that exist since opset 11 (13 for GatherPacked, which needs Constant with a
 * referenced attribute).
 */
import { effectiveBlockSize } from "../core/format.ts";
import { attribute } from "../onnx/index.ts";
import type { Form, FormContext } from "./form.ts";
import { bitloomDomain, gatherPackedFunction, matMulPackedFunction } from "./packed-functions.ts";
import { storedCodes, storedScales, storedZeroPoints } from "./stored.ts";

export const matMulPacked: Form = {
  name: "MatMulPacked",
  stored: (layer, format) => [
    storedCodes(layer, format),
    storedScales(layer, format),
    ...storedZeroPoints(layer, format),
  ],
  multiply(context, activation, output) {
    const { editor, layer, format, names, opset, functionBody, node } = context;
    const fn = matMulPackedFunction(format, opset, functionBody);
    editor.addOpset(bitloomDomain, 1);
    editor.addFunction(fn);
    return node(
      fn.name,
      [activation, ...operands(names)],
      {
        K: attribute.int(layer.k),
        N: attribute.int(layer.n),
        bits: attribute.int(format.bits),
        block_size: attribute.int(effectiveBlockSize(format, layer.k)),
      },
      { domain: bitloomDomain, output },
    );
  },
  gather: gatherPacked,
};

const operands = (names: ReadonlyMap<string, string>) =>
  ["codes", "scales", "zero_points"].flatMap((role) => names.get(role) ?? []);

/** Rows of a packed table; only the gathered rows are unpacked. */
export function gatherPacked(context: FormContext, indices: string, output?: string): string {
  return addGather(
    context,
    indices,
    context.format.bits,
    operands(context.names),
    undefined,
    output,
  );
}

/** One half of a table stored as two bit fields; without stored zero points `zero` stands for all of them. */
export function gatherPackedPart(
  context: FormContext,
  indices: string,
  bits: number,
  codesRole: string,
  zeroPointsRole: string,
  zero: number,
): string {
  const { names } = context;
  const zeroPoints = names.get(zeroPointsRole);
  const inputs = [
    names.get(codesRole) ?? "",
    names.get("scales") ?? "",
    ...(zeroPoints ? [zeroPoints] : []),
  ];
  return addGather(context, indices, bits, inputs, zero);
}

function addGather(
  context: FormContext,
  indices: string,
  bits: number,
  inputs: readonly string[],
  zero = 2 ** (bits - 1),
  output?: string,
): string {
  const { editor, layer, format, opset, node } = context;
  const fn = gatherPackedFunction({ bits, symmetric: inputs.length === 2, zero }, opset);
  editor.addOpset(bitloomDomain, 1);
  editor.addFunction(fn);
  return node(
    fn.name,
    [indices, ...inputs],
    {
      K: attribute.int(layer.k),
      N: attribute.int(layer.n),
      bits: attribute.int(bits),
      block_size: attribute.int(effectiveBlockSize(format, layer.k)),
    },
    { domain: bitloomDomain, output },
  );
}
