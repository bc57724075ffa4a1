/**
 * The model under quantization and everything that is known of it before any data is looked at: its layers, blocks,
 * and the formats each layer may take in the chosen target.
 */
import { formatsFor, type Pin } from "../allocate/index.ts";
import { BitloomError } from "../core/errors.ts";
import type { Notice } from "../core/events.ts";
import {
  float32Format,
  formatGrid,
  integerBits,
  integerFormat,
  parseFormat,
  type WeightFormat,
  withScaleType,
} from "../core/format.ts";
import { namedRole } from "../core/language-model.ts";
import type { Layer, LayerId, SkippedNode } from "../core/layer.ts";
import type { Block } from "../core/stats.ts";
import { findBlocks, findLayers } from "../layers/index.ts";
import { type Model, openModel } from "../onnx/index.ts";
import { scaleTypeFor } from "../quantize/index.ts";
import {
  mainOpset,
  resolveTarget,
  supports,
  type Target,
  type TargetName,
  weightBytes,
} from "../rewrite/index.ts";

export interface Subject {
  readonly model: Model;
  readonly layers: readonly Layer[];
  readonly skipped: readonly SkippedNode[];
  readonly blocks: readonly Block[];
  readonly target: Target;
  readonly opset: number;
  /** Σ N·K. */
  readonly weights: number;
  /** Bytes of the quantizable weights in the float file. */
  readonly floatWeightBytes: number;
}

/**
 * Opens a model and finds its layers.
 *
 * @throws unsupported - nothing can be quantized; lists why.
 */
export async function openSubject(
  path: string | Model,
  target: TargetName | Target,
): Promise<Subject> {
  const subject = await viewSubject(path, target);
  if (subject.layers.length === 0) throw nothingToQuantize(subject);
  return subject;
}

/** The same for a model that may have no layers. */
export async function viewSubject(
  path: string | Model,
  target: TargetName | Target,
): Promise<Subject> {
  const model = typeof path === "string" ? await openModel(path) : path;
  const { layers, skipped } = findLayers(model.graph);
  return {
    model,
    layers,
    skipped,
    blocks: findBlocks(model.graph, layers),
    target: resolveTarget(target),
    opset: mainOpset(model),
    weights: layers.reduce((sum, { n, k }) => sum + n * k, 0),
    floatWeightBytes: layers.reduce(
      (sum, layer) => sum + weightBytes(resolveTarget(target), layer, float32Format, 0),
      0,
    ),
  };
}

function nothingToQuantize({ model, skipped }: Subject): BitloomError {
  const branch = model.graph.inputs.find((input) => namedRole(input) === "use-cache-branch");
  if (branch && skipped.some(({ opType }) => opType === "If")) {
    return new BitloomError(
      "unsupported",
      `The model is two decoders in one, with and without a past: "${branch.name}" chooses a branch of an If, and only the main graph is quantized. Export it again with a newer optimum, which writes one decoder with caches, or with --no-post-process, and quantize decoder_model.onnx.`,
      { what: "merged decoders" },
    );
  }
  const counts = new Map<string, number>();
  for (const { opType, reason } of skipped) {
    const key = `${opType}: ${reason.replace(/"[^"]*"/g, "its own")}`;
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  const reasons = [...counts].sort((a, b) => b[1] - a[1]).slice(0, 5);
  const list = reasons.map(([reason, count]) => `${count} × ${reason}`).join("; ");
  return new BitloomError(
    "unsupported",
    `The model has no layer that can be quantized: expected a MatMul, Gemm, Gather or Conv with a constant float weight, got ${list || "no node with a constant weight"}.`,
    { what: "quantization" },
  );
}

/**
 * The formats on offer by default: every width, blocks of 32, 64 and 128, symmetric and asymmetric; and those that the
 * target adds because it cannot express any of these on some models.
 */
export function defaultFormats(target: TargetName | Target = "portable"): WeightFormat[] {
  const { extraFormats = [] } = resolveTarget(target);
  return [...formatGrid(integerBits, [32, 64, 128]), ...extraFormats];
}

/** Formats from their ids; a bare width ("4" or "int4") stands for all of that width in the default grid. */
export function parseFormats(text: string): WeightFormat[] {
  const found = text
    .split(",")
    .map((part) => part.trim())
    .filter((part) => part !== "");
  const formats = found.flatMap((part) => {
    const width = /^(?:int)?(\d+)$/.exec(part);
    const ofWidth = width ? defaultFormats().filter(({ bits }) => bits === Number(width[1])) : [];
    return ofWidth.length > 0 ? ofWidth : [parseFormat(part)];
  });
  if (formats.length === 0) {
    throw new BitloomError(
      "bad-option",
      "The list of formats is empty. Name at least one, for example --formats int4-b32,int8-b128.",
      { option: "formats", got: text },
    );
  }
  return [...new Map(formats.map((format) => [format.id, format])).values()];
}

export interface LayerFormats {
  readonly layer: Layer;
  /** Integer formats, lowest width first; empty when the target can hold none. */
  readonly formats: readonly WeightFormat[];
  /** Float formats: those asked for, and float32 when nothing else is possible. */
  readonly floats: readonly WeightFormat[];
}

/**
 * What a layer can make of the formats on offer. Blocks so long that the next smaller one says the same with less
 * padding are left out, unless the layer is pinned to them. Kernels of convolutions are unpacked before they are used,
 * so that they need no padding to a block: one as long as the row is the whole row.
 */
export function fittingFormats(
  formats: readonly WeightFormat[],
  { k, uses }: Layer,
  isPinned: boolean,
): WeightFormat[] {
  if (!uses.some(({ opType }) => opType === "Conv")) {
    return formats.filter(({ blockSize }) => isPinned || blockSize < 2 * k);
  }
  const fitting = formats.map((format) =>
    format.blockSize >= k ? integerFormat({ ...format, blockSize: 0 }) : format,
  );
  return [...new Map(fitting.map((format) => [format.id, format])).values()];
}

/**
 * The formats each layer may take: what it is pinned to, else what was asked for, as far as the target can express it.
 * Scales that float16 cannot hold fall back to float32 for that layer, with a notice.
 */
export async function formatsOfLayers(
  subject: Subject,
  options: { readonly formats: readonly WeightFormat[]; readonly pins: readonly Pin[] },
  notify: (notice: Notice) => void,
): Promise<LayerFormats[]> {
  const { target, opset } = subject;
  const reasons = new Map<LayerId, string>();
  const result: LayerFormats[] = [];
  for (const layer of subject.layers) {
    const integers: WeightFormat[] = [];
    const pinned = formatsFor(layer.id, options.pins);
    const asked = [...(pinned.length > 0 ? pinned : options.formats)].sort(
      (a, b) => a.bits - b.bits,
    );
    const floats = asked.filter(({ kind }) => kind === "float");
    const weight = target.scaleType === "float16" ? await layer.readWeight() : undefined;
    let wide = false;
    const integersAsked = asked.filter(({ kind }) => kind === "integer");
    for (const format of fittingFormats(integersAsked, layer, pinned.length > 0)) {
      const typed = withScaleType(format, target.scaleType);
      const answer = supports(target, layer, typed, opset);
      if (answer !== true) reasons.set(layer.id, answer);
      else {
        const scaleType = weight ? scaleTypeFor(weight, typed) : "float32";
        wide ||= weight !== undefined && scaleType === "float32";
        integers.push(withScaleType(typed, scaleType));
      }
    }
    if (wide) {
      notify({
        code: "float32-scales",
        layer: layer.id,
        message: `Scales of "${layer.id}" do not fit float16; float32 scales are used where needed.`,
      });
    }
    if (integers.length === 0 && integersAsked.length > 0) {
      notify({
        code: "left-in-float",
        layer: layer.id,
        message: `"${layer.id}" stays in float: ${reasons.get(layer.id) ?? "no offered block size fits its width"}.`,
      });
    }
    const fallback = integers.length === 0 && floats.length === 0 ? [float32Format] : [];
    result.push({ layer, formats: integers, floats: [...floats, ...fallback] });
  }
  return result;
}
