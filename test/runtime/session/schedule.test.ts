/** The order of nodes and segments: dependencies hold, and the fallback is entered as seldom as possible. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { OperatorNode } from "../../../src/runtime/session/operator.ts";
import { type Scheduled, schedule } from "../../../src/runtime/session/schedule.ts";

const node = (name: string, inputs: string[]): OperatorNode => ({
  name,
  domain: "",
  opType: "X",
  inputs,
  outputs: [`${name}:0`],
  attributes: new Map(),
  opset: 18,
});

const scheduleOf = (nodes: readonly OperatorNode[], here: (node: OperatorNode) => boolean) =>
  schedule({
    nodes,
    outputs: [nodes[nodes.length - 1].outputs[0]],
    isConstant: (value) => value === "w",
    runsHere: here,
    captures: () => [],
  });

const nodesOf = (item: Scheduled) => (item.kind === "node" ? [item.node] : item.segment.nodes);

describe("schedule", () => {
  test("every node runs once, after what it reads, and segments say what crosses their border", () => {
    const shape = fc.array(
      fc.record({ reads: fc.array(fc.nat(50), { maxLength: 3 }), here: fc.boolean() }),
      {
        minLength: 1,
        maxLength: 40,
      },
    );
    fc.assert(
      fc.property(shape, (specs) => {
        const nodes = specs.map(({ reads }, index) =>
          node(`n${index}`, [
            "x",
            "w",
            ...reads.filter((at) => at < index).map((at) => `n${at}:0`),
          ]),
        );
        const here = new Set(nodes.filter((_, index) => specs[index].here));
        const order = scheduleOf(nodes, (one) => here.has(one));
        expect(order.flatMap(nodesOf).length).toBe(nodes.length);
        const done = new Set(["x", "w"]);
        for (const item of order) {
          const inside = new Set(nodesOf(item).flatMap(({ outputs }) => outputs));
          for (const one of nodesOf(item)) {
            for (const value of one.inputs) expect(done.has(value) || inside.has(value)).toBe(true);
          }
          if (item.kind === "segment") {
            expect(item.segment.inputs.every((value) => done.has(value))).toBe(true);
            expect(item.segment.inputs).not.toContain("w");
            const later = nodes.filter((one) => !item.segment.nodes.includes(one));
            for (const value of inside) {
              const isRead = later.some(({ inputs }) => inputs.includes(value));
              if (isRead) expect(item.segment.outputs).toContain(value);
            }
          }
          for (const value of inside) done.add(value);
        }
      }),
    );
  });

  test("two branches without kernels that do not depend on each other are one segment", () => {
    const nodes = [
      node("a", ["x"]),
      node("b", ["a:0"]),
      node("c", ["x"]),
      node("d", ["c:0"]),
      node("e", ["b:0", "d:0"]),
    ];
    const order = scheduleOf(nodes, ({ name }) => !["b", "d"].includes(name));
    expect(order.map((item) => nodesOf(item).map(({ name }) => name))).toEqual([
      ["a"],
      ["c"],
      ["b", "d"],
      ["e"],
    ]);
  });
});
