/**
 * Plans element-wise kernels of several operands with numpy's broadcasting: shapes in, fields out.
 */
import { contiguousStrides, type Dimension, type LevelValues, planLevels } from "./levels.ts";

/** Elements of a piece: long runs are cut into pieces of so many for the threads. */
const pieceElements = 1024;

/** The common shape of operands, or undefined if they do not fit. */
export function broadcastShape(shapes: readonly (readonly number[])[]): number[] | undefined {
  const rank = Math.max(0, ...shapes.map((shape) => shape.length));
  const result: number[] = [];
  for (let axis = 0; axis < rank; axis++) {
    const sizes = shapes.map((shape) => shape[axis - rank + shape.length] ?? 1);
    const size = sizes.find((one) => one !== 1) ?? 1;
    if (sizes.some((one) => one !== 1 && one !== size)) return undefined;
    result.push(size);
  }
  return result;
}

/** Strides in elements of an operand repeated to `shape`; 0 where it repeats. */
export function broadcastStrides(operand: readonly number[], shape: readonly number[]): number[] {
  const own = contiguousStrides(operand);
  const missing = shape.length - operand.length;
  return shape.map((_, axis) => {
    const at = axis - missing;
    return at < 0 || operand[at] === 1 ? 0 : own[at];
  });
}

export interface BroadcastPlan<Name extends string> {
  readonly shape: readonly number[];
  readonly items: number;
  /** All fields but the addresses; `<operand>Step` is 1 where the operand moves inside a run, 0 where it repeats. */
  readonly values: LevelValues<Name | "output"> & Readonly<Record<`${Name}Step`, number>>;
}

/**
 * @param operands - name → shape and bytes of an element.
 * @returns undefined if the shapes do not fit, or need more than six levels after merging.
 */
export function planOperands<const Name extends string>(
  operands: Readonly<Record<Name, { readonly shape: readonly number[]; readonly bytes: number }>>,
  outputBytes: number,
): BroadcastPlan<Name> | undefined {
  const names = Object.keys(operands) as Name[];
  const shape = broadcastShape(names.map((name) => operands[name].shape));
  if (!shape) return undefined;
  const strides = [
    ...names.map((name) => broadcastStrides(operands[name].shape, shape)),
    contiguousStrides(shape),
  ];
  const dimensions = shape.map(
    (size, axis): Dimension => ({ size, strides: strides.map((one) => one[axis]) }),
  );
  const bytes = Object.fromEntries(names.map((name) => [name, operands[name].bytes]));
  const plan = planLevels(
    dimensions,
    { ...bytes, output: outputBytes } as Readonly<Record<Name | "output", number>>,
    pieceElements,
  );
  if (!plan) return undefined;
  const values: Record<string, number> = plan.values;
  names.forEach((name, at) => {
    values[`${name}Step`] = Math.sign(plan.innerStrides[at]);
  });
  return { shape, items: plan.items, values: values as BroadcastPlan<Name>["values"] };
}
