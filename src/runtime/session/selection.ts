/**
 * Which steps a run needs for its outputs, which of them have to run, and until when each value is needed. Pure.
 */
import type { Step } from "./step.ts";
import type { Value } from "./values.ts";

export interface Selection {
  /** In order. */
  readonly steps: readonly Step[];
  /** Steps of which only the types of the outputs are needed: they do not run. */
  readonly typesOnly: ReadonlySet<Step>;
  /** Index of the last step that reads a value; one past the last for outputs. */
  readonly lastUses: ReadonlyMap<Value, number>;
}

export const nothingSelected: Selection = {
  steps: [],
  typesOnly: new Set(),
  lastUses: new Map(),
};

/**
 * @param all - in order.
 * @param decisive - values whose contents decide shapes: they are computed whenever a type hangs on them.
 */
export function selectSteps(
  all: readonly Step[],
  outputs: readonly Value[],
  decisive: Iterable<Value>,
): Selection {
  const needed = new Set(outputs);
  const read = new Set([...outputs, ...decisive]);
  const steps: Step[] = [];
  const typesOnly = new Set<Step>();
  for (const step of [...all].reverse()) {
    const makes = (values: ReadonlySet<Value>) =>
      step.outputs.some((value) => value && values.has(value));
    if (!makes(needed)) continue;
    steps.push(step);
    const runs = step.kind === "segment" || makes(read);
    if (!runs) typesOnly.add(step);
    const reads = runs && !(step.kind === "node" && step.operator.readsTypesOnly);
    for (const value of step.inputs) {
      if (value) needed.add(value);
      if (value && reads) read.add(value);
    }
  }
  steps.reverse();
  const lastUses = new Map<Value, number>();
  for (const [index, step] of steps.entries()) {
    for (const value of step.inputs) if (value && read.has(value)) lastUses.set(value, index);
  }
  for (const value of outputs) lastUses.set(value, steps.length);
  return { steps, typesOnly, lastUses };
}
