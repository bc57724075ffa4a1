/**
 * Attributes of a node by type, with the default that the operator's definition gives.
 */
import type { OperatorNode } from "../../session/operator.ts";

type Attributed = Pick<OperatorNode, "attributes">;

export function numberAttribute(
  { attributes }: Attributed,
  name: string,
  fallback: number,
): number {
  const found = attributes.get(name);
  return found?.type === "int" || found?.type === "float" ? found.value : fallback;
}

export function numbersAttribute(
  { attributes }: Attributed,
  name: string,
): readonly number[] | undefined {
  const found = attributes.get(name);
  return found?.type === "ints" ? found.value : undefined;
}

export function textAttribute({ attributes }: Attributed, name: string, fallback: string): string {
  const found = attributes.get(name);
  return found?.type === "string" ? found.value : fallback;
}
