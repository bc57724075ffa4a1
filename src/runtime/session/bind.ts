/**
 * Ties a step to addresses: fills the tasks of its kernels, or makes the views that its JavaScript form reads.
 */
import { invariant } from "../../core/errors.ts";
import type { Engine } from "../../engine/engine.ts";
import type { NodeStep } from "./step.ts";
import type { Value } from "./values.ts";

/** Memory that a step needs while it runs. */
export function workspaceBytes({ mode, compiled, inputs, outputs }: NodeStep): number {
  if (mode !== "compiled" || !compiled?.workspaceBytes) return 0;
  return compiled.workspaceBytes(types(inputs), types(outputs));
}

const types = (values: NodeStep["inputs"]) => values.map((value) => value?.type);

export function bindStep(step: NodeStep, engine: Engine, arena: number, workspace: number): void {
  const { node, operator, compiled, inputs, outputs } = step;
  if (step.mode === "compiled") {
    invariant(compiled, `${node.name} has no compiled form`);
    const operands = inputs.map((value) => value?.operand(arena));
    compiled.bind(
      operands,
      outputs.map((value) => value?.operand(arena)),
      workspace,
    );
    step.execute = () => compiled.run();
    return;
  }
  const read = (value: Value | undefined) => value?.view(engine.buffer, arena);
  const from = inputs.map(read);
  const to = outputs.map(read);
  step.execute = () => operator.compute?.(node, from, to);
}
