/**
 * RMS norm and soft cap, decomposed as torch exports them.
 */
import { type DecoderConfig, normEpsilon } from "./config.ts";
import type { GraphWriter } from "./graph-writer.ts";
import type { PlainGraph } from "./plain-inputs.ts";
import { castTo, meanOfLastAxis } from "./torch-shapes.ts";

/** RMS norm: x · 1/√(mean(x²) + ε) · weight, computed in float32. */
export function plainNorm(
  graph: PlainGraph,
  writer: GraphWriter,
  key: string,
  x: string,
  length: number,
): string {
  const { config, weights, style, root } = graph;
  const half = config.dtype === "float16";
  const cast = (value: string, to: "float32" | "float16") =>
    half ? writer.op("Cast", [value], { to: castTo[to] }) : value;
  const wide = cast(x, "float32");
  const squares = writer.op("Pow", [wide, writer.float(2)]);
  const sum = writer.op("Add", [meanOfLastAxis(writer, squares), writer.float(normEpsilon)]);
  const norm = writer.op("Sqrt", [sum]);
  const inverse =
    style === "eager" ? writer.op("Div", [writer.float(1), norm]) : writer.op("Reciprocal", [norm]);
  const normed = writer.op("Mul", [wide, inverse]);
  const weight = root.tensor(weights.norm(`${key}.weight`, key, length, 0));
  if (config.normOffset === 0) return writer.op("Mul", [weight, cast(normed, "float16")]);
  // Gemma multiplies before it goes back to float16.
  const shifted = writer.op("Add", [cast(weight, "float32"), writer.float(1)]);
  return cast(writer.op("Mul", [normed, shifted]), "float16");
}

/** cap · tanh(x / cap). */
export function softcap(
  writer: GraphWriter,
  x: string,
  cap: number,
  { dtype }: DecoderConfig,
  output?: string,
): string {
  const constant = writer.float(cap, dtype);
  const bounded = writer.op("Tanh", [writer.op("Div", [x, constant])]);
  return writer.op("Mul", [bounded, constant], {}, output);
}
