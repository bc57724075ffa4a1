import { expect, test } from "vitest";
import { createTap, editModel } from "../../src/onnx/index.ts";
import { createRuntime } from "../../src/runtime/index.ts";
import { graph } from "../support/graph-builder.ts";
import { floatFeed, numbersOf } from "../support/toy-models.ts";

test.each([9, 10, 11, 18])("pad at opset %i: zeros around, or a part cut off", async (opset) => {
  const model = graph({ opset })
    .input("x", "float32", ["rows", 3])
    .node("Identity", ["x"], ["y"])
    .output("y", "float32")
    .model();
  const editor = editModel(model);
  const tap = createTap(editor);
  const padded = tap.expose(tap.pad("y", [0, 1], [1, 0]), "float32");
  const cut = tap.expose(tap.pad("y", [0, -1], [0, 0]), "float32");
  const runtime = createRuntime({ threads: 1 });
  const session = await runtime.open(editor.commit());
  const results = await session.run({ x: floatFeed([1, 2, 3], [1, 3]) });
  await runtime.close();
  expect(results[padded].shape).toEqual([2, 4]);
  expect(numbersOf(results[padded])).toEqual([0, 1, 2, 3, 0, 0, 0, 0]);
  expect(numbersOf(results[cut])).toEqual([2, 3]);
});

test("what is asked for under one key is made once", () => {
  const model = graph().input("x", "float16", [2]).output("y").node("Identity", ["x"], ["y"]);
  const tap = createTap(editModel(model.model()));
  let made = 0;
  const make = () => ({ number: ++made });
  expect(tap.once("a", make)).toBe(tap.once("a", make));
  expect(tap.once("b", make).number).toBe(2);
  expect(tap.toFloat("x")).toBe(tap.toFloat("x"));
});
