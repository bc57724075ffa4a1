/**
 * The model that measures a step: activations of both streams in, sums of products out, so that only these are added
 * up outside of the runtime. Wide activations are taken in blocks of columns, the rows of several batches together.
 */
import type { Layer, LayerUse } from "../../core/layer.ts";
import {
  attribute,
  createTap,
  editModel,
  extractSubgraph,
  type GraphTap,
  type Model,
  partInput,
} from "../../onnx/index.ts";
import { activationRows, groupProducts, products } from "../statistic.ts";
import type { StreamStep } from "./plan.ts";
import type { ValueType } from "./segment.ts";

export interface GramModel {
  readonly model: Model;
  readonly inputs: ReadonlyMap<string, GramInput>;
  /** Columns that a run measures, fewer in the last. */
  readonly columns: number;
  /** Feed int64 [2], first of these columns and the one after them; undefined where all are measured at once. */
  readonly blockInput: string | undefined;
  readonly grams: GramOutputs;
}

/** What an input of the model takes: a value of one stream and of one of the batches that a run measures. */
export interface GramInput {
  readonly value: string;
  readonly stream: Stream;
  /** 0 .. `GramModelOptions.batches` − 1. */
  readonly batch: number;
}

/** The float model, or the one whose layers are being rounded. */
export type Stream = "float" | "rounded";

/** Names of the outputs that are summed over the batches; those of a block of columns have only these, of width B. */
export interface GramOutputs {
  /** Σ x̂ᵀx̂, float32 [G, K, K], [K, B] where G is 1; undefined where only powers are measured. */
  readonly hessian: string | undefined;
  /** Σ (x − x̂)ᵀx̂ of the same shape; undefined where the streams agree too. */
  readonly drift: string | undefined;
  /** Σ (r − r̂)ᵀx̂, float32 [N, B], r being what the layer's output is added to; undefined where it is not measured. */
  readonly residualDrift: string | undefined;
  /** Number of elements of the activations, int64. */
  readonly size: string;
  /** Σ ‖x‖², and Σ ‖x − x̂‖². */
  readonly power: string;
  readonly driftPower: string | undefined;
}

export interface GramModelOptions {
  readonly model: Model;
  readonly step: StreamStep;
  /** Element types of feeds and kept values, and ranks of the latter. */
  readonly types: ReadonlyMap<string, ValueType>;
  /** The streams differ: without that only the float one is measured. */
  readonly drifts: boolean;
  /** Measures powers and nothing else. */
  readonly onlyPowers: boolean;
  /** Also measures what the drift of the step's residual couples with. */
  readonly needsResidual: boolean;
  /** Whose rows a run measures together. */
  readonly batches: number;
  /** Products of a batch that are larger are measured in blocks; several exist at once in each worker. */
  readonly blockBytes: number;
}

/** Narrower blocks are more calls than work. */
const leastColumns = 16;
/** Slice takes ranges that are computed from this opset on. */
const rangesOpset = 10;

/** Columns that are measured at once; all of them where rows are unfolded for convolutions. */
function columnsAtOnce({ opsets }: Model, { k, uses, groups }: Layer, blockBytes: number): number {
  const isWhole = groups > 1 || uses.some(({ window }) => window);
  if (isWhole || (opsets.get("") ?? 1) < rangesOpset) return k;
  return Math.min(k, Math.max(leastColumns, Math.floor(blockBytes / (4 * k))));
}

/** Cost: O(nodes of the model); no tensor is read. */
export function buildGramModel(options: GramModelOptions): GramModel {
  const { model, step, types, drifts, onlyPowers } = options;
  const { activations, layers } = step;
  const residual = drifts && options.needsResidual && !onlyPowers ? step.residual : undefined;
  const compared = residual === undefined ? activations : [...activations, residual];
  const own: Stream = drifts ? "rounded" : "float";
  const typeOf = (value: string) => types.get(value) ?? typeIn(layers, value);
  const editor = editModel(
    extractSubgraph(model, {
      inputs: compared.map((name) => partInput(name, typeOf(name))),
      outputs: [],
    }),
  );
  const inputs = new Map<string, GramInput>();
  const addInput = (input: GramInput) => {
    const { value, stream, batch } = input;
    // The first batch has the names of the model.
    const isFirst = stream === own && batch === 0;
    const name = isFirst ? value : editor.uniqueName(`${value}_${stream}`);
    if (!isFirst) editor.addInput(partInput(name, typeOf(value)));
    inputs.set(name, input);
    return name;
  };
  const batches = Array.from({ length: options.batches }, (_, batch): BatchNames => {
    const named = compared.map(
      (value) => [value, addInput({ value, stream: own, batch })] as const,
    );
    const floats = (drifts ? compared : []).map(
      (value) => [value, addInput({ value, stream: "float", batch })] as const,
    );
    return { own: new Map(named), floats: new Map(floats) };
  });
  const tap = createTap(editor);
  const columns = onlyPowers ? layers[0].k : columnsAtOnce(model, layers[0], options.blockBytes);
  const blockInput = columns < layers[0].k ? editor.uniqueName("columns") : undefined;
  if (blockInput) editor.addInput({ name: blockInput, dtype: "int64", shape: [2] });
  const measured = { batches, residual, blockInput, onlyPowers };
  const grams = tapGrams(tap, model, layers[0], measured);
  return { model: editor.commit(), inputs, columns, blockInput, grams };
}

/** Of an activation; of what a layer's output is added to it is the layer's own. */
function typeIn(layers: readonly Layer[], value: string): ValueType {
  const uses = layers.flatMap(({ uses }) => uses);
  const { dtype } = uses.find(({ activation }) => activation === value) ?? uses[0];
  return { dtype, shape: undefined };
}

/** Names of one batch's inputs, by the value they take. */
interface BatchNames {
  readonly own: ReadonlyMap<string, string>;
  /** Of the float stream; empty where the streams agree. */
  readonly floats: ReadonlyMap<string, string>;
}

interface MeasuredValues {
  readonly batches: readonly BatchNames[];
  readonly residual: string | undefined;
  readonly blockInput: string | undefined;
  readonly onlyPowers: boolean;
}

function tapGrams(
  tap: GraphTap,
  model: Model,
  layer: Layer,
  { batches, residual, blockInput, onlyPowers }: MeasuredValues,
): GramOutputs {
  const block = (rows: string) =>
    blockInput === undefined ? rows : sliceColumns(tap, rows, blockInput);
  const sum = (values: readonly string[]) =>
    values.reduce((sum, value) => tap.op("Add", [sum, value]));
  const parts = products(layer).map((use) => {
    const rowsOf = (names: (batch: BatchNames) => ReadonlyMap<string, string>) => {
      const each = batches.map((batch) => {
        const activation = names(batch).get(use.activation) as string;
        return activationRows(tap, model, layer, { ...use, activation });
      });
      return each.length === 1 ? each[0] : tap.op("Concat", each, { axis: attribute.int(0) });
    };
    const x = rowsOf(({ own }) => own);
    const given = batches[0].floats.size > 0 ? rowsOf(({ floats }) => floats) : undefined;
    const drift = given && tap.op("Sub", [given, x]);
    return {
      hessian: onlyPowers ? undefined : groupProducts(tap, x, block(x), layer, use),
      drift: onlyPowers || !drift ? undefined : groupProducts(tap, drift, block(x), layer, use),
      residualDrift:
        residual === undefined
          ? undefined
          : sum(
              batches.map((batch) => residualProduct(tap, layer, use, { batch, residual, block })),
            ),
      size: tap.op("Size", [x]),
      power: tap.reduce("ReduceSumSquare", given ?? x),
      driftPower: drift && tap.reduce("ReduceSumSquare", drift),
    };
  });
  const total = (pick: (part: (typeof parts)[number]) => string | undefined) => {
    const values = parts.map(pick).filter((value) => value !== undefined);
    if (values.length === 0) return undefined;
    return tap.expose(tap.op("Identity", [sum(values)]), undefined);
  };
  return {
    hessian: total(({ hessian }) => hessian),
    drift: total(({ drift }) => drift),
    residualDrift: total(({ residualDrift }) => residualDrift),
    size: total(({ size }) => size) as string,
    power: total(({ power }) => power) as string,
    driftPower: total(({ driftPower }) => driftPower),
  };
}

/**
 * Σ (r − r̂)ᵀx̂ [N, B]. A sum may repeat either summand along dimensions of 1: r is then taken once for each row of x̂,
 * and of several rows of r that meet one of x̂ the mean counts, as the error of the output counts once.
 */
function residualProduct(
  tap: GraphTap,
  { n, k }: Layer,
  { activation }: LayerUse,
  given: {
    readonly batch: BatchNames;
    readonly residual: string;
    block(rows: string): string;
  },
): string {
  const { batch, residual: value, block } = given;
  const float = batch.floats.get(value) as string;
  const residual = batch.own.get(value) as string;
  const difference = tap.op("Sub", [tap.toFloat(float), tap.toFloat(residual)]);
  const x = tap.toFloat(batch.own.get(activation) as string);
  const differences = repeatedAs(tap, difference, x);
  const inputs = repeatedAs(tap, x, differences);
  const product = tap.op("MatMul", [
    tap.op("Transpose", [tap.rows(differences, n)]),
    block(tap.rows(inputs, k)),
  ]);
  // Nothing is repeated where there are no rows.
  const count = (value: string) =>
    tap.op("Max", [tap.toFloat(tap.op("Size", [value])), tap.float(1)]);
  return tap.op("Div", [product, tap.op("Div", [count(inputs), count(x)])]);
}

/** The value, repeated along dimensions in which another one is longer; the last dimension of each is its own. */
function repeatedAs(tap: GraphTap, value: string, other: string): string {
  const sums = tap.reduce("ReduceSum", other, [-1], true);
  return tap.op("Add", [value, tap.op("Mul", [sums, tap.float(0)])]);
}

/** Columns of a matrix, from and up to what an input of two numbers says. */
function sliceColumns(tap: GraphTap, rows: string, range: string): string {
  const [begin, end] = [0, 1].map((at) => tap.op("Gather", [range, tap.int64([at])]));
  return tap.op("Slice", [rows, begin, end, tap.int64([1])]);
}
