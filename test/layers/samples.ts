/** Graphs around one stored matrix, for the tests of `layers/`. */
import { findLayers } from "../../src/layers/index.ts";
import { attribute, type Model } from "../../src/onnx/index.ts";
import { type GraphBuilder, type GraphOptions, graph } from "../support/graph-builder.ts";

export const rows = 3;
export const cols = 2;
/** [3, 2], row-major; every value is exact in bfloat16. */
export const stored = Float32Array.of(1, -2, 3, 4, -5, 6);
/** Its transpose, [2, 3]. */
export const turned = Float32Array.of(1, 3, -5, -2, 4, 6);

/** A graph with an activation for each role, the stored matrix "w", and one output "y". */
export const start = (options: GraphOptions = {}): GraphBuilder =>
  graph(options)
    .input("x", "float32", ["rows", rows])
    .input("x2", "float32", ["rows", cols])
    .input("ids", "int64", ["ids"])
    .initializer("w", [rows, cols], stored);
const done = (builder: GraphBuilder): Model => builder.output("y").model();
export const found = (builder: GraphBuilder) => findLayers(done(builder).graph);
export const ints = (name: string, value: number) => ({ [name]: attribute.int(value) });
export const perm = (...axes: number[]) => ({ perm: attribute.ints(axes) });
export const cast = (code: number) => ({ to: attribute.int(code) });
