/**
 * One entry of a session's program: a node with its operator, or a segment for the fallback.
 */
import type { Feeds } from "../../core/feeds.ts";
import type { CompiledStep, Operator, OperatorNode } from "./operator.ts";
import type { Segment } from "./schedule.ts";
import type { Value } from "./values.ts";

export interface NodeStep {
  readonly kind: "node";
  readonly node: OperatorNode;
  readonly operator: Operator;
  readonly compiled: CompiledStep | undefined;
  readonly inputs: readonly (Value | undefined)[];
  readonly outputs: readonly (Value | undefined)[];
  /** The run in which its types were worked out last; −1: never. */
  inferred: number;
  /** Its types follow from contents: worked out anew in every run. */
  readsContents: boolean;
  /** How it runs with the shapes of this run. */
  mode: "nothing" | "compute" | "compiled";
  /** The mode that memory is planned for. */
  planned: "nothing" | "compute" | "compiled";
  /** Runs `mode`; set when it is bound. */
  execute: () => void;
  /** Offset of its workspace in the arena. */
  workspace: { offset: number; bytes: number } | undefined;
}

export interface SegmentStep {
  readonly kind: "segment";
  readonly segment: Segment;
  readonly inputs: readonly Value[];
  readonly outputs: readonly Value[];
  readonly run: (feeds: Feeds) => Promise<Feeds>;
}

export type Step = NodeStep | SegmentStep;

/** Inputs that must lie in memory while the step runs. */
export function memoryInputs(step: Step): readonly Value[] {
  if (step.kind === "segment" || step.mode !== "compiled") return [];
  const packed = step.compiled?.packed ?? [];
  return step.inputs.filter(
    (value, index): value is Value => value !== undefined && !packed.includes(index),
  );
}
