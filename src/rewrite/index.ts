/**
 * Expresses quantized layers in the graph. The result keeps the model's inputs, outputs, names and dynamic axes.
 */
import { BitloomError } from "../core/errors.ts";
import type { WeightFormat } from "../core/format.ts";
import type { Layer } from "../core/layer.ts";
import type { QuantizedTensor } from "../core/quantized.ts";
import { tensorBytes } from "../core/tensor.ts";
import { editModel, type Model } from "../onnx/index.ts";
import { emitLayer, storedBytes } from "./emit.ts";
import type { Form } from "./form.ts";
import { ort } from "./ort.ts";
import { matMulPacked } from "./packed.ts";
import { portable } from "./portable.ts";
import { qdq } from "./qdq.ts";
import { multiplies, type Target } from "./target.ts";

export { measuredLike } from "./dequantized.ts";
export type { Form } from "./form.ts";
export type { Target } from "./target.ts";

/** Registered targets; the key is the file name. */
export const targets = { portable, ort, qdq } satisfies Record<string, Target>;
/** Name of a registered target. */
export type TargetName = keyof typeof targets;

/** The target behind a name, or the caller's own. Throws `bad-option` for an unknown name. */
export function resolveTarget(target: TargetName | Target): Target {
  if (typeof target !== "string") return target;
  if (Object.hasOwn(targets, target)) return targets[target];
  throw new BitloomError(
    "bad-option",
    `Unknown target "${String(target)}": expected one of ${Object.keys(targets).join(", ")}.`,
    { option: "target", got: String(target) },
  );
}

/** Main graph's ai.onnx opset. */
export const mainOpset = (model: Model): number => model.opsets.get("") ?? 1;

/** Why a target cannot hold a layer in a format, or true when it can. float32 always can: the node stays. */
export function supports(
  target: Target,
  layer: Layer,
  format: WeightFormat,
  opset: number,
): true | string {
  if (format.id === "float32") return true;
  const form = target.form(layer, format, opset);
  return typeof form === "string" ? form : true;
}

/**
 * Exact bytes of the layer's weight in the file: codes, scales, zero points, padding; or of the float tensor.
 *
 * @throws unsupported - the target cannot hold the format; `supports` says so beforehand.
 */
export function weightBytes(
  target: Target,
  layer: Layer,
  format: WeightFormat,
  opset: number,
): number {
  const form = formOf(target, layer, format, opset);
  return form ? storedBytes(form, layer, format) : tensorBytes(layer.dtype, [layer.n, layer.k]);
}

/** The form of a layer; undefined for float32, where the node stays as it is. */
function formOf(
  target: Target,
  layer: Layer,
  format: WeightFormat,
  opset: number,
): Form | undefined {
  if (format.id === "float32") return undefined;
  const form = target.form(layer, format, opset);
  if (typeof form !== "string") return form;
  throw new BitloomError(
    "unsupported",
    `Layer "${layer.id}" cannot be written as ${format.id}: ${form}. Choose another format for it, or another target.`,
    { what: format.id, node: layer.id },
  );
}

/** A layer, its format, and its weight when it is asked for. */
export interface QuantizedLayer {
  readonly layer: Layer;
  readonly format: WeightFormat;
  /** Called when the model is saved or opened, once per stored tensor; never for floats. */
  weight(): Promise<QuantizedTensor>;
}

/** How quantized layers appear in the graph. */
export interface RewriteOptions {
  readonly target: TargetName | Target;
  /**
   * How function bodies for widths without stock kernels are written: "folded" unpacks once when the runtime loads
   * the model (fast as float, memory of float), "packed" on every run. "auto": folded while those weights total
   * less than 256 MB as float32.
   */
  readonly functionBody?: "auto" | "folded" | "packed" | undefined;
}

/** 268 M weights folded took 22–32 s and 9.95 GB at load; onnxruntime-web ran out of memory. */
const foldedLimitBytes = 256e6;

/**
 * Replaces every listed layer by its quantized form; layers in float32 stay as they are.
 *
 * @param layers - of `findLayers` on this model, each at most once.
 * @returns a new model; quantized weights are computed when it is saved or opened, one tensor at a time.
 * @throws unsupported - the target cannot hold a layer's format.
 *
 * Cost: O(nodes); no weight is read.
 */
export function rewriteModel(
  model: Model,
  layers: readonly QuantizedLayer[],
  options: RewriteOptions,
): Model {
  const target = resolveTarget(options.target);
  const opset = mainOpset(model);
  const emitted = layers.flatMap(({ layer, format, weight }) => {
    const form = formOf(target, layer, format, opset);
    return form ? [{ layer, format, weight, form }] : [];
  });
  const functionBody = chooseBody(options.functionBody ?? "auto", emitted);
  const editor = editModel(model);
  for (const entry of emitted) {
    emitLayer(editor, { ...entry, opset, functionBody, accuracyLevel: target.accuracyLevel });
  }
  return editor.commit();
}

function chooseBody(
  choice: "auto" | "folded" | "packed",
  emitted: readonly { layer: Layer; form: Form }[],
): "folded" | "packed" {
  if (choice !== "auto") return choice;
  const bytes = emitted
    .filter(({ form, layer }) => form === matMulPacked && multiplies(layer))
    .reduce((sum, { layer }) => sum + layer.n * layer.k * 4, 0);
  return bytes < foldedLimitBytes ? "folded" : "packed";
}
