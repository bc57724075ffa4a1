/**
 * The model that measures a step: activations of both streams in, sums of products out, so that only these are added
 * up outside of the runtime. Wide activations are taken in blocks of columns.
 */
import type { Layer, LayerUse } from "../../core/layer.ts";
import {
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
  /** By input: the value, and the stream it is taken from. */
  readonly inputs: ReadonlyMap<string, { readonly value: string; readonly stream: Stream }>;
  /** Columns that a run measures, fewer in the last. */
  readonly columns: number;
  /** Feed int64 [2], first of these columns and the one after them; undefined where all are measured at once. */
  readonly blockInput: string | undefined;
  readonly grams: GramOutputs;
}

/** The float model, or the one whose layers are being rounded. */
export type Stream = "float" | "rounded";

/** Names of the outputs that are summed over the batches; those of a block of columns have only these, of width B. */
export interface GramOutputs {
  /** Σ x̂ᵀx̂, float32 [G, K, K], [K, B] where G is 1. */
  readonly hessian: string;
  /** Σ (x − x̂)ᵀx̂ of the same shape; undefined where the streams agree. */
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
  /** Also measures what the drift of the step's residual couples with. */
  readonly needsResidual: boolean;
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
  const { model, step, types, drifts } = options;
  const { activations, layers } = step;
  const residual = drifts && options.needsResidual ? step.residual : undefined;
  const compared = residual === undefined ? activations : [...activations, residual];
  const own: Stream = drifts ? "rounded" : "float";
  const editor = editModel(
    extractSubgraph(model, {
      inputs: compared.map((name) => partInput(name, types.get(name) ?? typeIn(layers, name))),
      outputs: [],
    }),
  );
  const inputs = new Map(compared.map((value) => [value, { value, stream: own }]));
  const floats = new Map<string, string>();
  for (const value of drifts ? compared : []) {
    const name = editor.uniqueName(`${value}_float`);
    const { dtype } = types.get(value) ?? typeIn(layers, value);
    editor.addInput({ name, dtype, shape: undefined });
    inputs.set(name, { value, stream: "float" });
    floats.set(value, name);
  }
  const tap = createTap(editor);
  const columns = columnsAtOnce(model, layers[0], options.blockBytes);
  const blockInput = columns < layers[0].k ? editor.uniqueName("columns") : undefined;
  if (blockInput) editor.addInput({ name: blockInput, dtype: "int64", shape: [2] });
  const grams = tapGrams(tap, model, layers[0], { floats, residual, blockInput });
  return { model: editor.commit(), inputs, columns, blockInput, grams };
}

/** Of an activation; of what a layer's output is added to it is the layer's own. */
function typeIn(layers: readonly Layer[], value: string): ValueType {
  const uses = layers.flatMap(({ uses }) => uses);
  const { dtype } = uses.find(({ activation }) => activation === value) ?? uses[0];
  return { dtype, shape: undefined };
}

interface MeasuredValues {
  /** Names of the float stream's values. */
  readonly floats: ReadonlyMap<string, string>;
  readonly residual: string | undefined;
  readonly blockInput: string | undefined;
}

function tapGrams(
  tap: GraphTap,
  model: Model,
  layer: Layer,
  measured: MeasuredValues,
): GramOutputs {
  const { floats, residual, blockInput } = measured;
  const block = (rows: string) =>
    blockInput === undefined ? rows : sliceColumns(tap, rows, blockInput);
  const parts = products(layer).map((use) => {
    const x = activationRows(tap, model, layer, use);
    const name = floats.get(use.activation);
    const given = name && activationRows(tap, model, layer, { ...use, activation: name });
    const drift = given && tap.op("Sub", [given, x]);
    return {
      hessian: groupProducts(tap, x, block(x), layer, use),
      drift: drift && groupProducts(tap, drift, block(x), layer, use),
      residualDrift:
        residual === undefined
          ? undefined
          : residualProduct(tap, layer, use, { residual, floats, block }),
      size: tap.op("Size", [x]),
      power: tap.reduce("ReduceSumSquare", given ?? x),
      driftPower: drift && tap.reduce("ReduceSumSquare", drift),
    };
  });
  const total = (pick: (part: (typeof parts)[number]) => string | undefined) => {
    const values = parts.map(pick).filter((value) => value !== undefined);
    if (values.length === 0) return undefined;
    const sum = values.reduce((sum, value) => tap.op("Add", [sum, value]));
    return tap.expose(tap.op("Identity", [sum]), undefined);
  };
  return {
    hessian: total(({ hessian }) => hessian) as string,
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
    readonly residual: string;
    readonly floats: ReadonlyMap<string, string>;
    block(rows: string): string;
  },
): string {
  const { residual, floats, block } = given;
  const float = floats.get(residual) as string;
  const difference = tap.op("Sub", [tap.toFloat(float), tap.toFloat(residual)]);
  const x = tap.toFloat(activation);
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
