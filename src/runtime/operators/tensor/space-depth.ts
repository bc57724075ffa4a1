/** DepthToSpace and SpaceToDepth: blocks of channels against blocks of pixels. */
import { contiguousStrides, permutedWalk } from "../../../../native/index.ts";
import { intAttribute, required, textAttribute } from "./attributes.ts";
import { copyOperator } from "./copies.ts";

export const depthToSpace = copyOperator({
  infer(node, inputs) {
    const { dtype, shape } = required(inputs, 0);
    const block = intAttribute(node, "blocksize", 1);
    const [n, c, h, w] = shape;
    if (shape.length !== 4 || c % block ** 2 !== 0) {
      throw new RangeError(`[${shape.join(", ")}] has no blocks of ${block} × ${block} channels`);
    }
    return [{ dtype, shape: [n, c / block ** 2, h * block, w * block] }];
  },
  count: () => 1,
  copies(node, inputs) {
    const block = intAttribute(node, "blocksize", 1);
    const isColumnRow = textAttribute(node, "mode", "DCR") === "CRD";
    const [n, c, h, w] = required(inputs, 0).shape;
    const channels = c / block ** 2;
    const sizes = isColumnRow
      ? [n, channels, block, block, h, w]
      : [n, block, block, channels, h, w];
    const order = isColumnRow ? [0, 1, 4, 2, 5, 3] : [0, 3, 4, 1, 5, 2];
    const { shape, walk } = permutedWalk(sizes, order);
    return [{ input: 0, output: 0, shape, from: walk, to: { strides: contiguousStrides(shape) } }];
  },
});

export const spaceToDepth = copyOperator({
  infer(node, inputs) {
    const { dtype, shape } = required(inputs, 0);
    const block = intAttribute(node, "blocksize", 1);
    const [n, c, h, w] = shape;
    if (shape.length !== 4 || h % block !== 0 || w % block !== 0) {
      throw new RangeError(`[${shape.join(", ")}] has no blocks of ${block} × ${block} pixels`);
    }
    return [{ dtype, shape: [n, c * block ** 2, h / block, w / block] }];
  },
  count: () => 1,
  copies(node, inputs) {
    const block = intAttribute(node, "blocksize", 1);
    const [n, c, h, w] = required(inputs, 0).shape;
    const sizes = [n, c, h / block, block, w / block, block];
    const { shape, walk } = permutedWalk(sizes, [0, 3, 5, 1, 2, 4]);
    return [{ input: 0, output: 0, shape, from: walk }];
  },
});
