/**
 * Layer norm and RMS norm, with and without a residual sum: LayerNormalization, SimplifiedLayerNormalization,
 * RMSNormalization, SkipLayerNormalization, SkipSimplifiedLayerNormalization.
 * Invariant: statistics have at least float32 precision, whatever the element type.
 */
import { broadcastShape, type NormName, normKernels, planNorm } from "../../../../native/index.ts";
import type {
  CompiledStep,
  Operator,
  OperatorNode,
  SupportContext,
  TensorType,
} from "../../session/operator.ts";
import type { HostTensor } from "../../session/storage.ts";
import { isFloat } from "../../session/storage.ts";
import { axisOf, floatAttribute, intAttribute, product, required } from "../tensor/attributes.ts";
import { repeated } from "./repeated.ts";

/** Where a norm finds its operands. */
interface NormForm {
  readonly kind: NormName;
  readonly scale: number;
  readonly bias?: number;
  readonly skip?: number;
  readonly skipBias?: number;
  readonly epsilon: number;
  /** The outputs' type is that of the scale: T and V of the operators without centring. */
  readonly typeOfScale?: boolean;
}

const sumOutput = 3;

/** First of the axes that are normalised; the fused forms always take the last one. */
const firstAxis = (form: NormForm, node: OperatorNode, rank: number): number =>
  axisOf(form.skip === undefined ? intAttribute(node, "axis", -1) : -1, rank);

function norm(form: NormForm): Operator {
  const skipOf = <T>(inputs: readonly (T | undefined)[]): T | undefined =>
    form.skip === undefined ? undefined : required(inputs, form.skip);
  const at = <T>(inputs: readonly (T | undefined)[], index: number | undefined): T | undefined =>
    index === undefined ? undefined : inputs[index];
  /** The shape of the residual sum, rows and length of a row. */
  const extent = (node: OperatorNode, inputs: readonly (TensorType | undefined)[]) => {
    const { shape: own } = required(inputs, 0);
    const skip = skipOf(inputs);
    const shape = skip ? summed(own, skip.shape) : own;
    const axis = firstAxis(form, node, shape.length);
    return { shape, axis, rows: product(shape.slice(0, axis)), length: product(shape.slice(axis)) };
  };
  return {
    ...(form.skip === undefined ? {} : { inPlace: [0] }),
    refuses: (node, context) => refusal(form, node, context),
    infer(node, inputs) {
      const { dtype } = required(inputs, 0);
      const { shape, axis } = extent(node, inputs);
      const scale = required(inputs, form.scale);
      checkParameter("scale", scale.shape, shape.slice(axis));
      const bias = at(inputs, form.bias);
      if (bias) checkParameter("bias", bias.shape, shape.slice(axis));
      const type = { dtype: form.typeOfScale ? scale.dtype : dtype, shape };
      const ofRows: TensorType = {
        dtype: dtype === "float64" ? "float64" : "float32",
        shape: shape.map((size, at) => (at < axis ? size : 1)),
      };
      return [type, ofRows, ofRows, { dtype, shape }].map((output, index) =>
        node.outputs[index] ? output : undefined,
      );
    },
    compute(node, inputs, outputs) {
      const { shape, rows, length } = extent(node, inputs);
      const x = required(inputs, 0);
      const skip = skipOf(inputs);
      const sum = outputs[sumOutput]?.data ?? new Float64Array(rows * length);
      const skipBias = at(inputs, form.skipBias)?.data;
      const own = repeated(x, shape);
      const other = skip && repeated(skip, shape);
      for (let i = 0; i < sum.length; i++) {
        sum[i] = own(i) + (other ? other(i) : 0) + (skipBias ? skipBias[i % length] : 0);
      }
      normalise(form, node, { sum, rows, length }, inputs, outputs);
    },
    compile(node, context) {
      // Statistics are asked for in training only.
      if (form.skip === undefined && node.outputs.slice(1).some(Boolean)) return undefined;
      const task = context.task(normKernels[form.kind]);
      const epsilon = floatAttribute(node, "epsilon", form.epsilon);
      return {
        fits(inputs) {
          const { shape, length } = extent(node, inputs);
          const skip = skipOf(inputs);
          const full = product(shape);
          const sizes = [product(required(inputs, 0).shape), skip ? product(skip.shape) : full];
          const parameters = [form.scale, form.bias, form.skipBias].map((i) => at(inputs, i));
          return (
            inputs.every((input) => !input || isFloat(input.dtype)) &&
            parameters.every((given) => !given || product(given.shape) === length) &&
            sizes.includes(full) &&
            [required(inputs, 0), ...(skip ? [skip] : [])].every((given) =>
              isSuffix(given.shape, shape),
            )
          );
        },
        bind(inputs, outputs) {
          const { rows, length } = extent(node, inputs);
          const x = required(inputs, 0);
          const skip = skipOf(inputs);
          // Either of the summands may be the one that repeats.
          const [full, other] = skip && x.elements < skip.elements ? [skip, x] : [x, skip];
          const skipRows = other ? other.elements / Math.max(length, 1) : rows;
          const { items, values } = planNorm(rows, length, epsilon, Math.max(skipRows, 1));
          const pointers = {
            input: full.pointer,
            skip: other?.pointer ?? 0,
            skipBias: at(inputs, form.skipBias)?.pointer ?? 0,
            scale: required(inputs, form.scale).pointer,
            bias: at(inputs, form.bias)?.pointer ?? 0,
            output: required(outputs, 0).pointer,
            sum: outputs[sumOutput]?.pointer ?? 0,
          };
          task.set({ ...values, ...pointers }, length > 0 ? items : 0, 4 * rows * length);
        },
        run: () => task.run(),
      } satisfies CompiledStep;
    },
  };
}

function refusal(form: NormForm, node: OperatorNode, context: SupportContext): string | undefined {
  if (form.skip !== undefined && (node.outputs[1] || node.outputs[2])) {
    return "means and deviations as outputs";
  }
  const dtype = context.dtype(0);
  return dtype && !isFloat(dtype) && dtype !== "float64" ? `elements of ${dtype}` : undefined;
}

function summed(a: readonly number[], b: readonly number[]): readonly number[] {
  const shape = broadcastShape([a, b]);
  if (!shape) throw new RangeError(`[${a.join(", ")}] and [${b.join(", ")}] cannot be added`);
  return shape;
}

function checkParameter(name: string, given: readonly number[], full: readonly number[]): void {
  const fits = given.every((size, i) => {
    const target = full[full.length - given.length + i] ?? 1;
    return size === 1 || size === target;
  });
  if (!fits) throw new RangeError(`${name} [${given.join(", ")}] for [${full.join(", ")}]`);
}

/** True when the tensor repeats as a whole: all its sizes after leading ones are those of `full`. */
function isSuffix(given: readonly number[], full: readonly number[]): boolean {
  const start = given.findIndex((size) => size !== 1);
  if (start < 0) return product(full) === 1;
  const tail = given.slice(start);
  return tail.every((size, i) => size === full[full.length - tail.length + i]);
}

interface Rows {
  readonly sum: ArrayLike<number>;
  readonly rows: number;
  readonly length: number;
}

function normalise(
  form: NormForm,
  node: OperatorNode,
  { sum, rows, length }: Rows,
  inputs: readonly (HostTensor | undefined)[],
  outputs: readonly (HostTensor | undefined)[],
): void {
  const epsilon = floatAttribute(node, "epsilon", form.epsilon);
  const { shape } = required(outputs, 0);
  const full = shape.slice(firstAxis(form, node, shape.length));
  const scale = repeated(required(inputs, form.scale), full);
  const given = form.bias === undefined ? undefined : inputs[form.bias];
  const bias = given && repeated(given, full);
  const output = required(outputs, 0).data;
  const isCentred = form.kind === "layer-norm";
  // The simplified form has one statistic, the first.
  const [means, deviations] = isCentred ? [outputs[1], outputs[2]] : [undefined, outputs[1]];
  for (let row = 0; row < rows; row++) {
    const start = row * length;
    let mean = 0;
    for (let i = 0; isCentred && i < length; i++) mean += sum[start + i] / length;
    let variance = 0;
    for (let i = 0; i < length; i++) variance += (sum[start + i] - mean) ** 2 / length;
    const factor = 1 / Math.sqrt(variance + epsilon);
    if (means) means.data[row] = mean;
    if (deviations) deviations.data[row] = factor;
    for (let i = 0; i < length; i++) {
      output[start + i] = (sum[start + i] - mean) * factor * scale(i) + (bias ? bias(i) : 0);
    }
  }
}

const simplified = norm({ kind: "rms-norm", scale: 1, epsilon: 1e-5, typeOfScale: true });

export const normOperators: Readonly<Record<string, Operator>> = {
  LayerNormalization: norm({ kind: "layer-norm", scale: 1, bias: 2, epsilon: 1e-5 }),
  RMSNormalization: simplified,
  SimplifiedLayerNormalization: simplified,
  "com.microsoft::SimplifiedLayerNormalization": simplified,
  "com.microsoft::SkipLayerNormalization": norm({
    kind: "layer-norm",
    skip: 1,
    scale: 2,
    bias: 3,
    skipBias: 4,
    epsilon: 1e-12,
  }),
  "com.microsoft::SkipSimplifiedLayerNormalization": norm({
    kind: "rms-norm",
    skip: 1,
    scale: 2,
    skipBias: 3,
    epsilon: 1e-12,
  }),
};
