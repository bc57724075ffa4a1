/**
 * Puts one quantized layer into a graph: stores its tensors once, then replaces every node that used the weight.
 * Whatever the use was (rank, bias, transposition, element type), the form only ever sees Y = X Wᵀ in float32, or
 * gives W itself in front of a node that stays (Conv).
 */
import { invariant } from "../core/errors.ts";
import type { WeightFormat } from "../core/format.ts";
import type { Layer, LayerUse } from "../core/layer.ts";
import type { QuantizedTensor } from "../core/quantized.ts";
import { bytesOf, dtypes, tensorBytes } from "../core/tensor.ts";
import {
  attribute,
  lazyTensor,
  type ModelEditor,
  memoryTensor,
  type Node,
  storedConstant,
} from "../onnx/index.ts";
import type { Form, FormContext, WeightSource } from "./form.ts";

export interface EmitOptions {
  readonly form: Form;
  readonly layer: Layer;
  readonly format: WeightFormat;
  readonly opset: number;
  readonly functionBody: "folded" | "packed";
  readonly accuracyLevel: number | undefined;
  /** Called when the model is saved or opened, once per stored tensor. */
  readonly weight: () => Promise<QuantizedTensor>;
}

/** Bytes that a form stores for a layer: exactly what `emitLayer` adds as initializers. */
export function storedBytes(form: Form, layer: Layer, format: WeightFormat): number {
  return form
    .stored(layer, format)
    .reduce((sum, { dtype, shape }) => sum + tensorBytes(dtype, shape), 0);
}

/** Replaces all uses of the layer's weight by the form's nodes. Outputs keep their names. */
export function emitLayer(editor: ModelEditor, options: EmitOptions): void {
  const { layer } = options;
  const names = storeTensors(editor, options);
  for (const use of layer.uses) {
    const original = editor.model.graph.producer(use.output);
    invariant(original?.name === use.node, `"${use.node}" does not make "${use.output}"`);
    const context = createContext(editor, options, use, names);
    editor.removeNode(use.node);
    if (use.opType === "Gather") emitGather(context, options.form, use);
    else if (use.opType === "Conv") emitConv(context, options.form, use, original);
    else emitProduct(context, options.form, use, original);
  }
  for (const name of layer.path) editor.removeNode(name);
}

function storeTensors(editor: ModelEditor, options: EmitOptions): ReadonlyMap<string, string> {
  const { form, layer, format, weight } = options;
  const stem = layer.weight;
  const source: WeightSource = { quantized: weight, float: () => layer.readWeight() };
  return new Map(
    form.stored(layer, format).map(({ role, dtype, shape, fill }) => {
      const name = editor.uniqueName(`${stem}_${role}`);
      editor.addInitializer(lazyTensor(name, dtype, shape, () => fill(source)));
      return [role, name] as const;
    }),
  );
}

function createContext(
  editor: ModelEditor,
  options: EmitOptions,
  use: LayerUse,
  names: ReadonlyMap<string, string>,
): FormContext {
  const { layer, format, opset, functionBody, accuracyLevel } = options;
  const node: FormContext["node"] = (
    opType,
    inputs,
    attributes = {},
    { domain = "", output } = {},
  ) => {
    const name = editor.uniqueName(`${use.node}/${opType}`);
    const result = output ?? editor.uniqueName(`${name}_output`);
    editor.addNodes([{ name, domain, opType, inputs, outputs: [result], attributes }]);
    return result;
  };
  const ints = (values: readonly number[]) => {
    const bytes = bytesOf(BigInt64Array.from(values, BigInt));
    const value = memoryTensor("value", "int64", [values.length], bytes);
    return node("Constant", [], { value: attribute.tensor(value) });
  };
  const tensor = (role: string) => {
    const name = names.get(role);
    invariant(name !== undefined, `"${layer.id}" stores no tensor as "${role}"`);
    return name;
  };
  return { editor, layer, format, opset, functionBody, accuracyLevel, tensor, node, ints };
}

function emitGather(context: FormContext, form: Form, use: LayerUse): void {
  if (use.dtype === "float32") {
    form.gather(context, use.activation, use.output);
    return;
  }
  const rows = form.gather(context, use.activation);
  context.node(
    "Cast",
    [rows],
    { to: attribute.int(dtypes[use.dtype].code) },
    { output: use.output },
  );
}

/** The node as it was, with the unpacked weight in place of the stored one. */
function emitConv(context: FormContext, form: Form, use: LayerUse, original: Node): void {
  const { editor, layer, node, ints } = context;
  invariant(form.unpack, `${form.name} unpacks no weights`);
  const shape = storedConstant(editor.model.graph, layer.weight)?.shape;
  invariant(shape, `"${layer.weight}" is no constant`);
  const widened = () => toFloat32(context, use, use.activation);
  const kernels = node("Reshape", [form.unpack(context, widened), ints(shape)]);
  const to = attribute.int(dtypes[use.dtype].code);
  const weight = use.dtype === "float32" ? kernels : node("Cast", [kernels], { to });
  const { name, opType, inputs, outputs, attributes } = original;
  const [activation, , ...bias] = inputs;
  editor.addNodes([
    {
      name,
      opType,
      inputs: [activation, weight, ...bias],
      outputs,
      attributes: Object.fromEntries(attributes),
    },
  ]);
}

const toFloat32 = ({ node }: FormContext, use: LayerUse, value: string) =>
  use.dtype === "float32" ? value : node("Cast", [value], { to: attribute.int(1) });

/** Y = cast(alpha · X Wᵀ + beta · C): the parts of Gemm and of 16-bit graphs that the form does not know. */
function emitProduct(context: FormContext, form: Form, use: LayerUse, original: Node): void {
  const { node } = context;
  const isGemm = use.opType === "Gemm";
  const widened = (value: string) => toFloat32(context, use, value);
  const scaled = (value: string, factor: number, output?: string) =>
    factor === 1 ? value : node("Mul", [value, scalar(context, factor)], {}, { output });

  const turned = isGemm && attributeOf(original, "transA", 0) !== 0;
  const activation = widened(turned ? node("Transpose", [use.activation]) : use.activation);
  const bias = isGemm ? original.inputs[2] : undefined;
  const alpha = isGemm ? attributeOf(original, "alpha", 1) : 1;
  const beta = isGemm ? attributeOf(original, "beta", 1) : 1;

  const steps: ((value: string, output?: string) => string)[] = [
    (_, output) => form.multiply(context, activation, output),
  ];
  if (alpha !== 1) steps.push((value, output) => scaled(value, alpha, output));
  if (bias) {
    const term = scaled(widened(bias), beta);
    steps.push((value, output) => node("Add", [value, term], {}, { output }));
  }
  if (use.dtype !== "float32") {
    const to = attribute.int(dtypes[use.dtype].code);
    steps.push((value, output) => node("Cast", [value], { to }, { output }));
  }
  const last = steps.length - 1;
  steps.reduce((value, step, i) => step(value, i === last ? use.output : undefined), "");
}

function attributeOf(node: Node, name: string, fallback: number): number {
  const found = node.attributes.get(name);
  return found?.type === "int" || found?.type === "float" ? found.value : fallback;
}

function scalar({ node }: FormContext, value: number): string {
  const constant = memoryTensor("value", "float32", [], Float32Array.of(value));
  return node("Constant", [], { value: attribute.tensor(constant) });
}
