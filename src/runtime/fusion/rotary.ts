/**
 * Rotary embeddings written out become one node. Three forms of one rotation (a, b) → (a·cos − b·sin, b·cos + a·sin):
 *
 *   x·cos + concat(−x₂, x₁)·sin          halves of x, tables as wide as x with two equal halves
 *   concat(x₁·cos − x₂·sin, x₂·cos + x₁·sin)    halves of x, tables of half the width
 *   stack(x₀·cos − x₁·sin, x₁·cos + x₀·sin)     neighbours, x reshaped to [..., width / 2, 2]
 */
import { attribute } from "../../onnx/portable.ts";
import type { NodeGraph } from "../session/node-graph.ts";
import type { OperatorNode } from "../session/operator.ts";
import { integers, intOf, isNode, madeBy, onlyUse, otherInput, scalar } from "./pattern.ts";
import { halvesAgree, isHalfOfLastAxis } from "./rotary-tables.ts";

interface Rotation {
  readonly last: OperatorNode;
  readonly x: string;
  readonly cos: string;
  readonly sin: string;
  /** Elements of a half; 0: whatever half of x is. */
  readonly half?: number;
  readonly interleaved?: boolean;
}

export async function rotary(graph: NodeGraph): Promise<void> {
  for (const node of graph.nodes) {
    if (!isNode(node, "Concat") || node.inputs.length !== 2) continue;
    const found = (await turnedHalf(graph, node)) ?? (await joinedHalves(graph, node));
    if (!found) continue;
    const { last, x, cos, sin, half = 0, interleaved = false } = found;
    graph.replace(
      [last],
      [
        {
          opType: "Rotary",
          name: last.name,
          inputs: [x, cos, sin],
          outputs: last.outputs,
          attributes: {
            half: attribute.int(half),
            interleaved: attribute.int(interleaved ? 1 : 0),
          },
        },
      ],
    );
  }
  graph.prune();
}

/** The last axis, counted from the end or of the four axes that heads have. */
const isLast = (axis: number | undefined): boolean => axis === -1 || axis === 3;

interface Part {
  readonly x: string;
  readonly start: string;
  readonly end: string;
}

async function partOf(graph: NodeGraph, value: string): Promise<Part | undefined> {
  const slice = madeBy(graph, value, "Slice");
  if (!slice) return undefined;
  const [x, start, end, axes, steps] = slice.inputs;
  if (!start || !end || !axes || !isLast(await scalar(graph, axes))) return undefined;
  return !steps || (await scalar(graph, steps)) === 1 ? { x, start, end } : undefined;
}

/** Where the halves meet: a number, 0 for the middle of x, undefined if the parts are no halves. */
async function middle(
  graph: NodeGraph,
  low: Part | undefined,
  high: Part | undefined,
): Promise<number | undefined> {
  if (!low || !high || low.x !== high.x || (await scalar(graph, low.start)) !== 0) return undefined;
  const [to, from] = [await scalar(graph, low.end), await scalar(graph, high.start)];
  const end = await scalar(graph, high.end);
  if (to === undefined) {
    const isHalf = async (value: string) => isHalfOfLastAxis(graph, value, low.x);
    const isMiddle = (await isHalf(low.end)) && (await isHalf(high.start));
    return isMiddle && end !== undefined && end >= 2 ** 31 - 1 ? 0 : undefined;
  }
  const isWhole = end !== undefined && (end === 2 * to || end >= 2 ** 31 - 1);
  return to > 0 && to === from && isWhole ? to : undefined;
}

/** x·cos + concat(−x₂, x₁)·sin, by its concatenation. */
async function turnedHalf(graph: NodeGraph, concat: OperatorNode): Promise<Rotation | undefined> {
  const negative = madeBy(graph, concat.inputs[0], "Neg");
  if (!negative || !isLast(intOf(concat, "axis", 0))) return undefined;
  const low = await partOf(graph, concat.inputs[1]);
  const half = await middle(graph, low, await partOf(graph, negative.inputs[0]));
  const turned = onlyUse(graph, concat.outputs[0], "Mul");
  const sin = turned && otherInput(turned, concat.outputs[0]);
  const last = onlyUse(graph, turned?.outputs[0], "Add");
  if (!low || half === undefined || !turned || !sin || !last) return undefined;
  const straight = madeBy(graph, otherInput(last, turned.outputs[0]), "Mul");
  const cos = straight && otherInput(straight, low.x);
  if (!cos || !(await halvesAgree(graph, cos)) || !(await halvesAgree(graph, sin)))
    return undefined;
  return { last, x: low.x, cos, sin, half };
}

/** The concatenation or stack of both results. */
async function joinedHalves(graph: NodeGraph, concat: OperatorNode): Promise<Rotation | undefined> {
  const axis = intOf(concat, "axis", 0);
  const stacked = await Promise.all(concat.inputs.map((value) => unstacked(graph, value, axis)));
  const isStack = stacked.every((value) => value !== undefined);
  const [first, second] = isStack ? (stacked as string[]) : concat.inputs;
  for (const { a, b, cos, sin } of products(graph, first, second)) {
    if (isStack) {
      const x = await neighbours(graph, a, b, axis);
      if (x) return { last: concat, x, cos, sin, interleaved: true };
    } else if (isLast(axis)) {
      const low = await partOf(graph, a);
      const half = await middle(graph, low, await partOf(graph, b));
      if (low && half) return { last: concat, x: low.x, cos, sin, half };
    }
  }
  return undefined;
}

async function unstacked(
  graph: NodeGraph,
  value: string,
  axis: number,
): Promise<string | undefined> {
  const node = madeBy(graph, value, "Unsqueeze");
  const axes = node && (await integers(graph, node.inputs[1]));
  return axes?.length === 1 && axes[0] === axis ? node?.inputs[0] : undefined;
}

/** The tensor [..., 2] whose elements 0 and 1 of the last axis are a and b. */
async function neighbours(
  graph: NodeGraph,
  a: string,
  b: string,
  axis: number,
): Promise<string | undefined> {
  const [first, second] = [madeBy(graph, a, "Gather"), madeBy(graph, b, "Gather")];
  if (!first || !second || first.inputs[0] !== second.inputs[0]) return undefined;
  if (axis !== -1 && axis !== 4) return undefined;
  for (const [index, node] of [first, second].entries()) {
    if (intOf(node, "axis", 0) !== axis || !graph.isConstant(node.inputs[1])) return undefined;
    const id = await graph.constant(node.inputs[1]);
    if (id?.shape.length !== 0 || id.data[0] !== index) return undefined;
  }
  return first.inputs[0];
}

interface Factors {
  readonly a: string;
  readonly b: string;
  readonly cos: string;
  readonly sin: string;
}

/** Every reading of first = a·cos − b·sin, second = b·cos + a·sin. */
function products(graph: NodeGraph, first: string, second: string): Factors[] {
  const difference = madeBy(graph, first, "Sub");
  const sum = madeBy(graph, second, "Add");
  const factors = (value: string | undefined) => madeBy(graph, value, "Mul")?.inputs ?? [];
  const [p, q] = [factors(difference?.inputs[0]), factors(difference?.inputs[1])];
  const given = [factors(sum?.inputs[0]), factors(sum?.inputs[1])].map(keyOf).sort().join("|");
  const found: Factors[] = [];
  for (const [a, cos] of bothWays(p)) {
    for (const [b, sin] of bothWays(q)) {
      const wanted = [keyOf([b, cos]), keyOf([a, sin])].sort().join("|");
      if (wanted === given) found.push({ a, b, cos, sin });
    }
  }
  return found;
}

const bothWays = (pair: readonly string[]): (readonly string[])[] =>
  pair.length === 2 ? [pair, [pair[1], pair[0]]] : [];
const keyOf = (values: readonly string[]): string => JSON.stringify([...values].sort());
