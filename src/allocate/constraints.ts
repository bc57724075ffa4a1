/**
 * What the user fixes beforehand: pins (`pattern=format`) and the range of widths. Narrows each layer's alternatives.
 * Not here: budgets. Invariant: a layer that leaves with alternatives left keeps at least one, and pins beat ranges.
 */
import { BitloomError } from "../core/errors.ts";
import { parseFormat, type WeightFormat, withScaleType } from "../core/format.ts";
import type { LayerId } from "../core/layer.ts";
import type { LayerAlternatives, LayerScore } from "../core/plan.ts";
import { closestNames, quoteNames } from "./closest-names.ts";

/** Fixes the format of every layer whose id matches. */
export interface Pin {
  /** A layer id, a glob (`*` any characters including "/", `?` one character) or a regular expression `/…/`. */
  readonly pattern: string;
  readonly format: WeightFormat;
}

export interface Constraints {
  /** Of several pins that match a layer, the last one counts. */
  readonly pins?: readonly Pin[];
  /** Fewest bits of integer formats; floats are untouched. */
  readonly minBits?: number | undefined;
  /** Most bits of integer formats; floats are untouched. */
  readonly maxBits?: number | undefined;
}

/**
 * Reads `pattern=format`; the last "=" separates, since layer ids may contain one and format ids never do.
 *
 * Throws: bad-option for another shape, an unknown format or an invalid regular expression.
 */
export function parsePin(text: string): Pin {
  const at = text.lastIndexOf("=");
  const pattern = text.slice(0, Math.max(at, 0)).trim();
  if (at < 0 || pattern === "") {
    throw new BitloomError(
      "bad-option",
      `Cannot read the pin "${text}": expected pattern=format, for example "*lm_head*=int8-b32".`,
      { option: "pin", got: text },
    );
  }
  const pin = { pattern, format: parseFormat(text.slice(at + 1).trim()) };
  compilePattern(pattern);
  return pin;
}

/** Whether the pattern of a pin covers the layer; see `Pin.pattern`. An exact id always matches itself. */
export function matchesPattern(pattern: string, layer: LayerId): boolean {
  return pattern === layer || compilePattern(pattern).test(layer);
}

function compilePattern(pattern: string): RegExp {
  if (pattern.length > 2 && pattern.startsWith("/") && pattern.endsWith("/")) {
    try {
      return new RegExp(pattern.slice(1, -1));
    } catch (cause) {
      throw new BitloomError(
        "bad-option",
        `Cannot read the pin pattern ${pattern}: it is no valid regular expression. Use a glob such as "*mlp*", or correct it.`,
        { option: "pin", got: pattern },
        { cause },
      );
    }
  }
  const literal = pattern.replace(/[.+^${}()|[\]\\/]/g, "\\$&");
  return new RegExp(`^${literal.replaceAll("*", ".*").replaceAll("?", ".")}$`, "s");
}

/** Every format that some pin asks for, each once, in the order of the pins. */
export function pinnedFormats(pins: readonly Pin[]): WeightFormat[] {
  const byId = new Map(pins.map(({ format }) => [format.id, format]));
  return [...byId.values()];
}

/** The formats that pins leave to a layer: the last matching pin's, or none when the layer is free. */
export function formatsFor(layer: LayerId, pins: readonly Pin[]): readonly WeightFormat[] {
  const pin = pins.findLast(({ pattern }) => matchesPattern(pattern, layer));
  return pin ? [pin.format] : [];
}

/**
 * Keeps of each layer only what pins and widths allow.
 *
 * A pinned layer keeps its pinned format alone, whatever the widths. The scale type of a pin gives way to what is
 * offered, because the target decides it: "int4-b32" also pins an offered "int4-b32-s32".
 *
 * Throws: bad-option when a pin matches no layer, a pinned format is not offered, the widths contradict each other, or
 *   a layer would be left without a format.
 */
export function applyConstraints(
  layers: readonly LayerAlternatives[],
  constraints: Constraints,
): LayerAlternatives[] {
  const { pins = [], minBits, maxBits } = constraints;
  checkRange(minBits, maxBits);
  for (const pin of pins) checkPinIsUsed(pin, layers);
  return layers.map((layer) => {
    const [pinned] = formatsFor(layer.layer, pins);
    const alternatives = pinned
      ? [findOffered(layer, pinned)]
      : keepInRange(layer, minBits ?? 0, maxBits ?? Number.POSITIVE_INFINITY);
    return { ...layer, alternatives };
  });
}

function checkRange(minBits: number | undefined, maxBits: number | undefined): void {
  const bounds = [
    ["min-bits", minBits],
    ["max-bits", maxBits],
  ] as const;
  for (const [option, bits] of bounds) {
    if (bits !== undefined && !(bits > 0)) {
      throw new BitloomError(
        "bad-option",
        `--${option} must be a number of bits above zero, got ${bits}.`,
        {
          option,
          got: String(bits),
        },
      );
    }
  }
  if (minBits !== undefined && maxBits !== undefined && minBits > maxBits) {
    throw new BitloomError(
      "bad-option",
      `--min-bits ${minBits} is above --max-bits ${maxBits}: no width is left. Lower one or raise the other.`,
      { option: "min-bits", got: String(minBits) },
    );
  }
}

function checkPinIsUsed({ pattern, format }: Pin, layers: readonly LayerAlternatives[]): void {
  if (layers.some(({ layer }) => matchesPattern(pattern, layer))) return;
  const names = layers.map(({ layer }) => layer);
  const hint =
    names.length === 0
      ? "the model has no layers"
      : `close names: ${quoteNames(closestNames(pattern, names))}`;
  throw new BitloomError(
    "bad-option",
    `The pin "${pattern}=${format.id}" matches none of the ${names.length} layers; ${hint}. Correct the pattern (* stands for any characters) or remove the pin.`,
    { option: "pin", got: pattern },
  );
}

function findOffered(layer: LayerAlternatives, pinned: WeightFormat): LayerScore {
  const { alternatives } = layer;
  const otherScale = withScaleType(pinned, pinned.scaleType === "float16" ? "float32" : "float16");
  const offered =
    alternatives.find(({ format }) => format.id === pinned.id) ??
    alternatives.find(({ format }) => format.id === otherScale.id);
  if (offered) return offered;
  throw new BitloomError(
    "bad-option",
    `The pin to ${pinned.id} cannot be met: layer "${layer.layer}" offers ${offeredIds(layer)}. Pin it to one of these, or change --target.`,
    { option: "pin", got: pinned.id },
  );
}

function keepInRange(
  layer: LayerAlternatives,
  minBits: number,
  maxBits: number,
): readonly LayerScore[] {
  const kept = layer.alternatives.filter(
    ({ format: { kind, bits } }) => kind === "float" || (bits >= minBits && bits <= maxBits),
  );
  if (kept.length > 0 || layer.alternatives.length === 0) return kept;
  const belowAll = layer.alternatives.every(({ format }) => format.bits > maxBits);
  const option = belowAll ? "max-bits" : "min-bits";
  throw new BitloomError(
    "bad-option",
    `No format is left for layer "${layer.layer}" at ${minBits} to ${maxBits} bits: it offers ${offeredIds(layer)}. ${belowAll ? "Raise --max-bits" : "Lower --min-bits"}, widen --formats, or pin the layer.`,
    { option, got: String(belowAll ? maxBits : minBits) },
  );
}

function offeredIds({ alternatives }: LayerAlternatives): string {
  return alternatives.map(({ format }) => format.id).join(", ") || "nothing";
}
