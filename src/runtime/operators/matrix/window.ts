/**
 * The window attributes of convolutions and pools, as the planners of the kernels take them. Windows over one or two
 * axes; the element walk of the JavaScript forms is here, too.
 */
import type { Axis, WindowAttributes } from "../../../../native/index.ts";
import type { OperatorNode } from "../../session/operator.ts";
import { intsAttribute, textAttribute } from "../tensor/attributes.ts";

type Shared = Omit<WindowAttributes, "kernelShape" | "ceilMode">;

export function windowOf(node: OperatorNode): Shared {
  const strides = intsAttribute(node, "strides");
  const dilations = intsAttribute(node, "dilations");
  const pads = intsAttribute(node, "pads");
  const autoPad = textAttribute(node, "auto_pad", "NOTSET") as NonNullable<Shared["autoPad"]>;
  return {
    ...(strides && { strides }),
    ...(dilations && { dilations }),
    ...(pads && { pads }),
    autoPad,
  };
}

/** Calls `visit` for each tap of the window at (y, x) that lies inside the image: input element, tap. */
export function forEachTap(
  axes: readonly [Axis, Axis],
  y: number,
  x: number,
  visit: (element: number, tap: number) => void,
): void {
  const [vertical, horizontal] = axes;
  for (let i = 0; i < vertical.kernel; i++) {
    const row = y * vertical.stride - vertical.padBegin + i * vertical.dilation;
    if (row < 0 || row >= vertical.size) continue;
    for (let j = 0; j < horizontal.kernel; j++) {
      const column = x * horizontal.stride - horizontal.padBegin + j * horizontal.dilation;
      if (column < 0 || column >= horizontal.size) continue;
      visit(row * horizontal.size + column, i * horizontal.kernel + j);
    }
  }
}

/** Why windows over other than one or two axes, as far as the attributes tell, cannot run here. */
export function whyNotWindow(node: OperatorNode): string | undefined {
  const lists = ["kernel_shape", "strides", "dilations"].map((name) => intsAttribute(node, name));
  const pads = intsAttribute(node, "pads");
  const axes = lists.find((list) => list !== undefined)?.length ?? (pads && pads.length / 2);
  return axes !== undefined && (axes < 1 || axes > 2) ? `its window has ${axes} axes` : undefined;
}
