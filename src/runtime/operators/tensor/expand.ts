/** Expand and Tile: an input repeated along its axes. */
import { broadcastShape, broadcastStrides, contiguousStrides } from "../../../../native/index.ts";
import { intsOf, required } from "./attributes.ts";
import { copyOperator } from "./copies.ts";

export const expand = copyOperator({
  infer(_, inputs) {
    const { dtype, shape } = required(inputs, 0);
    const wanted = intsOf(inputs, 1) ?? [];
    const result = broadcastShape([shape, wanted]);
    if (!result) {
      throw new RangeError(`[${shape.join(", ")}] cannot expand to [${wanted.join(", ")}]`);
    }
    return [{ dtype, shape: result }];
  },
  count: () => 1,
  copies(_, inputs, outputs) {
    const { shape } = required(outputs, 0);
    const strides = broadcastStrides(required(inputs, 0).shape, shape);
    return [{ input: 0, output: 0, shape, from: { strides } }];
  },
});

export const tile = copyOperator({
  infer(_, inputs) {
    const { dtype, shape } = required(inputs, 0);
    const repeats = intsOf(inputs, 1) ?? [];
    if (repeats.length !== shape.length) {
      throw new RangeError(`${repeats.length} repeats for ${shape.length} dimensions`);
    }
    return [{ dtype, shape: shape.map((size, axis) => size * repeats[axis]) }];
  },
  count: () => 1,
  copies(_, inputs, outputs) {
    const { shape } = required(inputs, 0);
    const whole = required(outputs, 0).shape;
    const own = contiguousStrides(shape);
    const to = contiguousStrides(whole);
    // Every axis becomes two: which repetition, and where in it.
    const sizes = shape.flatMap((size, axis) => [size === 0 ? 0 : whole[axis] / size, size]);
    return [
      {
        input: 0,
        output: 0,
        shape: sizes,
        from: { strides: own.flatMap((stride) => [0, stride]) },
        to: { strides: to.flatMap((stride, axis) => [stride * shape[axis], stride]) },
      },
    ];
  },
});
