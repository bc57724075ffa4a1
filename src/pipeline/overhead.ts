/**
 * How much of a written file may not be weights, whatever plan is chosen: reserved by budgets that speak of the file
 * when plans are solved without the model. Not here: the exact size of one plan, which `choice.ts` takes from the plan.
 */
import { float32Format } from "../core/format.ts";
import type { Layer } from "../core/layer.ts";
import type { LayerAlternatives } from "../core/plan.ts";
import { rewriteModel, weightBytes } from "../rewrite/index.ts";
import type { Subject } from "./subject.ts";

/** Digits of block sizes, counts and lengths, in which layers of one kind and formats of one width may differ. */
const digitsPerLayer = 32;

/**
 * Upper bound of the overhead of any mixed plan: each layer pays the nodes of its dearest width, and the functions of
 * all widths are there. Layers of one operator, shape and element type differ in names only, so that the one with the
 * longest names stands for them. Conservative: no plan needs all of it.
 *
 * Cost: O(widths · kinds of layers) rewritings; no weight is read.
 */
export function largestOverhead(
  { model, target, opset, layers, floatWeightBytes }: Subject,
  offered: readonly LayerAlternatives[],
): number {
  const formats = offered.map(({ alternatives }) => alternatives.map(({ format }) => format));
  const float = model.fileBytes - floatWeightBytes;
  const rewritten = (id: string, takes: (at: number) => boolean) => {
    const picks = layers.map((layer, i) => {
      const wanted = formats[i].find((format) => format.id === id);
      return { layer, format: (takes(i) && wanted) || float32Format, weight: neverRead };
    });
    const sizes = picks.map(({ layer, format }) => weightBytes(target, layer, format, opset));
    const weights = sizes.reduce((sum, size) => sum + size, 0);
    // Which body is written depends on the size of the whole plan.
    const files = (["folded", "packed"] as const).map(
      (functionBody) => rewriteModel(model, picks, { target, functionBody }).fileBytes,
    );
    return Math.max(...files) - weights;
  };
  // Block sizes change a few digits only: one format per width and symmetry stands for all.
  const family = (id: string) => id.replace(/-b\d+|-row/, "");
  const dearest = layers.map(() => 0);
  let functions = 0;
  for (const members of groupByKind(layers)) {
    const longest = members.reduce((a, b) =>
      nameLength(layers[b]) > nameLength(layers[a]) ? b : a,
    );
    const ids = new Map(members.flatMap((i) => formats[i].map(({ id }) => [family(id), id])));
    for (const [name, id] of ids) {
      // Any of the kind that can have the format, the longest if possible.
      const has = (i: number) => formats[i].some((format) => format.id === id);
      const one = has(longest) ? longest : members.filter(has)[0];
      const spare = nameSpare(layers[longest], layers[one]);
      const alone = rewritten(id, (i) => i === one) - float;
      const others = layers.some((_, i) => i !== one && has(i));
      const nodes = others ? rewritten(id, () => true) - rewritten(id, (i) => i !== one) : alone;
      functions += Math.max(0, alone - nodes);
      for (const i of members) {
        if (formats[i].some((format) => family(format.id) === name))
          dearest[i] = Math.max(dearest[i], nodes + spare);
      }
    }
  }
  return dearest.reduce(
    (sum, bytes) => sum + Math.max(0, bytes) + digitsPerLayer,
    float + functions,
  );
}

/** Layers of one kind are rewritten to the same nodes. */
const kindOf = ({ opType, n, k, dtype, path, uses }: Layer) =>
  [opType, n, k, dtype, path.length, ...uses.map((use) => `${use.opType} ${use.dtype}`)].join();

const namesOf = ({ id, weight, path, uses }: Layer) => [
  id,
  weight,
  ...path,
  ...uses.flatMap(({ node, activation, output }) => [node, activation, output]),
];

const nameLength = (layer: Layer) => namesOf(layer).reduce((sum, name) => sum + name.length, 0);

/** The most that names of one layer can take beyond those of another: a node repeats them a few times. */
const nameSpare = (long: Layer, short: Layer) => 16 * (nameLength(long) - nameLength(short));

/** Indices of the layers of each kind. */
function groupByKind(layers: readonly Layer[]): number[][] {
  const groups = new Map<string, number[]>();
  for (const [i, layer] of layers.entries()) {
    const key = kindOf(layer);
    groups.set(key, [...(groups.get(key) ?? []), i]);
  }
  return [...groups.values()];
}

const neverRead = () => {
  throw new TypeError("bug in bitloom: sizes follow from shapes, no weight is read");
};
