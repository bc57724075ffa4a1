/**
 * Places what is known before a step runs. Constants: in the session's memory where kernels read them, in JavaScript where small or
 * where only the JavaScript form of an operator does. What a step has packed is not kept a second time.
 */
import { elementCount } from "../../core/tensor.ts";
import type { Engine } from "../../engine/engine.ts";
import { sizeClass } from "./arena.ts";
import { keptElements } from "./constants.ts";
import type { NodeGraph } from "./node-graph.ts";
import type { Step } from "./step.ts";
import { arrayOf, elementBytes, isStored } from "./storage.ts";
import type { Value } from "./values.ts";

export async function uploadConstants(
  graph: NodeGraph,
  steps: readonly Step[],
  outputs: readonly Value[],
  engine: Engine,
): Promise<void> {
  const inMemory = new Set<Value>();
  const inScript = new Set<Value>(outputs.filter(({ isConstant }) => isConstant));
  const constants = new Set<Value>(inScript);
  for (const step of steps) {
    if (step.kind === "segment") continue;
    for (const [index, value] of step.inputs.entries()) {
      if (!value?.isConstant) continue;
      constants.add(value);
      if (!step.compiled) inScript.add(value);
      else if (!step.compiled.packed?.includes(index)) inMemory.add(value);
    }
  }
  for (const value of constants) {
    const type = await graph.constants.type(value.name);
    if (!type) continue;
    value.type = { dtype: type.dtype, shape: type.shape };
    const count = elementCount(type.shape);
    // Small ones may be asked for while shapes are worked out.
    const isRead = count <= keptElements || inScript.has(value);
    if (!isStored(type.dtype) || (!isRead && !inMemory.has(value))) continue;
    const tensor = await graph.constant(value.name);
    if (!tensor) continue;
    if (isRead) value.known = tensor;
    if (!inMemory.has(value)) continue;
    const bytes = count * elementBytes(tensor.dtype);
    const offset = engine.take(bytes);
    new (arrayOf(tensor.dtype))(engine.buffer, offset, count).set(tensor.data);
    value.storage = { offset, bytes, kind: "own", lastUse: 0 };
  }
}

/** Known numbers that a kernel reads get a block of their own, which stays until they need a larger one. */
export function uploadKnown(value: Value, engine: Engine, run: number): void {
  const { known, uploaded } = value;
  if (!known) return;
  const isThere = uploaded !== undefined && value.storage === uploaded;
  if (isThere && value.changed !== run) return;
  let storage = uploaded;
  if (storage && storage.bytes < value.bytes) {
    engine.give(storage.offset);
    storage = undefined;
  }
  const bytes = sizeClass(value.bytes);
  storage ??= { offset: engine.take(bytes), bytes, kind: "own", lastUse: 0 };
  value.storage = storage;
  value.uploaded = storage;
  new (arrayOf(known.dtype))(engine.buffer, storage.offset, known.data.length).set(known.data);
}
