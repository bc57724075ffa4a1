/** Tensors that repeat along some axes, element by element. */
import type { HostTensor } from "../../session/storage.ts";
import { product } from "../tensor/attributes.ts";

/** Element i of a tensor broadcast to `shape`. */
export function repeated(
  { data, shape: own }: HostTensor,
  shape: readonly number[],
): (i: number) => number {
  if (data.length === product(shape)) return (i) => data[i];
  return (i) => {
    let index = 0;
    let stride = 1;
    let rest = i;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      const size = own[own.length - shape.length + axis] ?? 1;
      const place = rest % shape[axis];
      rest = Math.floor(rest / shape[axis]);
      if (size > 1) index += place * stride;
      stride *= size;
    }
    return data[index];
  };
}
