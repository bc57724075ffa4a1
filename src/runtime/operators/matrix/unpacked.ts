/**
 * The functions bitloom::Unpacked…: a low-bit weight as float32 [N, K], in front of a node that has no low-bit kernel.
 * With a folded body everything it reads is constant, so it runs once, when the session opens.
 */
import { BitloomError } from "../../../core/errors.ts";
import { unpackCodes } from "../../../core/packing.ts";
import type { Operator } from "../../session/operator.ts";
import { intAttribute, required } from "../tensor/attributes.ts";

/**
 * Inputs: codes uint8 [N, B, bytes], scales [N, B], and unless the name says "Symmetric" zero points uint8.
 *
 * Throws: bad-model when a tensor has another size than N, K, bits and blocks ask for.
 */
export const unpackedOperator: Operator = {
  refuses(node, context) {
    if (!/^Unpacked[234568]/.test(node.opType)) return "it is no function that this version writes";
    const dtype = context.dtype(0);
    return dtype === undefined || dtype === "uint8" ? undefined : `its codes are ${dtype}`;
  },
  infer: (node) => [
    { dtype: "float32", shape: [intAttribute(node, "N", 0), intAttribute(node, "K", 0)] },
  ],
  compute(node, inputs, [out]) {
    const n = intAttribute(node, "N", 0);
    const k = intAttribute(node, "K", 0);
    const bits = intAttribute(node, "bits", 4);
    const blockSize = intAttribute(node, "block_size", k);
    const blocks = Math.ceil(k / blockSize);
    const stored = required(inputs, 0).data;
    const scales = required(inputs, 1).data;
    const isSymmetric = node.opType.includes("Symmetric");
    const zeroPoints = isSymmetric ? undefined : required(inputs, 2).data;
    const rowBytes = stored.length / n;
    const zeroBytes = Math.ceil((blocks * bits) / 8);
    const isFitting =
      (rowBytes * 8) / bits >= k &&
      Number.isInteger(rowBytes / blocks) &&
      scales.length === n * blocks &&
      (zeroPoints?.length ?? n * zeroBytes) === n * zeroBytes;
    if (!isFitting || !out) {
      throw new BitloomError(
        "bad-model",
        `Node "${node.name}" (${node.opType}) has codes, scales or zero points of another size than a weight of [${n}, ${k}] in ${bits} bits and blocks of ${blockSize} needs: the file is damaged. Quantize the model again.`,
        { file: node.inputs[0], where: node.name },
      );
    }
    const codes = unpackCodes(stored as Uint8Array, n, k, bits, ((rowBytes / blocks) * 8) / bits);
    const zeros = zeroPoints && unpackCodes(zeroPoints as Uint8Array, n, blocks, bits, blocks);
    for (let row = 0; row < n; row++) {
      for (let column = 0; column < k; column++) {
        const block = row * blocks + Math.floor(column / blockSize);
        const zero = zeros ? zeros[block] : 2 ** (bits - 1);
        out.data[row * k + column] = scales[block] * (codes[row * k + column] - zero);
      }
    }
  },
};
