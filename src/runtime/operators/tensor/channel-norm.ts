/**
 * BatchNormalization (inference), InstanceNormalization, GroupNormalization: a scale and a bias for each channel of
 * [N, C, …], with given statistics or those of the channel or group.
 */
import { binaryKernels, normKernels, planBinary, planNorm } from "../../../../native/index.ts";
import type {
  CompileContext,
  CompiledStep,
  Operand,
  Operator,
  OperatorNode,
  TensorType,
} from "../../session/operator.ts";
import { isFloat } from "../../session/storage.ts";
import { floatAttribute, intAttribute, product, required } from "./attributes.ts";

/** [C, 1, …]: how numbers of channels broadcast to the tensor. */
const channelShape = (shape: readonly number[]): number[] => [
  shape[1] ?? 1,
  ...shape.slice(2).map(() => 1),
];

const epsilonOf = (node: OperatorNode): number => floatAttribute(node, "epsilon", 1e-5);
const sameType = (type: TensorType): TensorType => ({ dtype: type.dtype, shape: type.shape });

/** output = input · scale + bias, both of the shape [C, 1, …]. */
function channelAffine(context: CompileContext) {
  const multiply = context.task(binaryKernels["f32-mul"]);
  const add = context.task(binaryKernels["f32-add"]);
  return {
    bind(from: number, output: Operand, factors: readonly number[], scale: number, bias: number) {
      for (const [task, a, b] of [
        [multiply, from, scale],
        [add, output.pointer, bias],
      ] as const) {
        const name = task === multiply ? "f32-mul" : "f32-add";
        const plan = planBinary(name, output.shape, factors);
        if (!plan) throw new RangeError("scale and bias do not fit the channels");
        task.set({ ...plan.values, a, b, output: output.pointer }, plan.items, output.elements);
      }
    },
    run() {
      multiply.run();
      add.run();
    },
  };
}

const allFloat = (inputs: readonly (TensorType | undefined)[]): boolean =>
  inputs.every((input) => !input || isFloat(input.dtype));

async function compileBatchNorm(
  node: OperatorNode,
  context: CompileContext,
): Promise<CompiledStep | undefined> {
  const [scale, bias, mean, variance] = [
    await context.constant(1),
    await context.constant(2),
    await context.constant(3),
    await context.constant(4),
  ];
  if (!scale || !bias || !mean || !variance) return undefined;
  const count = scale.data.length;
  const memory = context.reserve(8 * count);
  const numbers = new Float32Array(2 * count);
  for (let c = 0; c < count; c++) {
    numbers[c] = scale.data[c] / Math.sqrt(variance.data[c] + epsilonOf(node));
    numbers[count + c] = bias.data[c] - mean.data[c] * numbers[c];
  }
  memory.bytes.set(new Uint8Array(numbers.buffer));
  const affine = channelAffine(context);
  return {
    packed: [1, 2, 3, 4],
    fits: allFloat,
    bind(inputs, outputs) {
      const { pointer, shape } = required(inputs, 0);
      const scales = memory.pointer;
      const output = required(outputs, 0);
      affine.bind(pointer, output, channelShape(shape), scales, scales + 4 * count);
    },
    run: () => affine.run(),
  };
}

/** Only inference; before opset 14 the outputs of training are told by their number. */
export const batchNormalization: Operator = {
  inPlace: [0],
  refuses(node) {
    // Up to opset 8 statistics may belong to single pixels.
    if (intAttribute(node, "spatial", 1) === 0) return "has statistics for each element";
    const isTraining =
      intAttribute(node, "training_mode", 0) !== 0 || node.outputs.slice(1).some(Boolean);
    return isTraining ? "trains a batch normalization" : undefined;
  },
  infer: (_, inputs) => [sameType(required(inputs, 0))],
  compute(node, inputs, outputs) {
    const { data, shape } = required(inputs, 0);
    const [scale, bias, mean, variance] = [1, 2, 3, 4].map((k) => required(inputs, k).data);
    const result = required(outputs, 0).data;
    const inner = product(shape.slice(2));
    const channels = shape[1] ?? 1;
    for (let i = 0; i < data.length; i++) {
      const c = Math.floor(i / inner) % channels;
      const spread = Math.sqrt(variance[c] + epsilonOf(node));
      result[i] = ((data[i] - mean[c]) / spread) * scale[c] + bias[c];
    }
  },
  compile: compileBatchNorm,
};

/** Normalises groups of channels by their own statistics. */
function groupNorm(groupsOf: (node: OperatorNode, channels: number) => number): Operator {
  const extent = (node: OperatorNode, shape: readonly number[]) => {
    const channels = shape[1] ?? 1;
    const groups = groupsOf(node, channels);
    if (channels % groups !== 0) throw new RangeError(`${channels} channels in ${groups} groups`);
    const rows = (shape[0] ?? 1) * groups;
    return { channels, groups, rows, length: product(shape.slice(1)) / groups };
  };
  return {
    inPlace: [0],
    infer(node, inputs) {
      const input = required(inputs, 0);
      extent(node, input.shape);
      return [sameType(input)];
    },
    compute(node, inputs, outputs) {
      const { data, shape } = required(inputs, 0);
      const scale = required(inputs, 1).data;
      const bias = required(inputs, 2).data;
      const result = required(outputs, 0).data;
      const { channels, rows, length } = extent(node, shape);
      const inner = product(shape.slice(2));
      // Up to opset 20 GroupNormalization has a scale for each group.
      const perScale = channels / scale.length;
      for (let row = 0; row < rows; row++) {
        let sum = 0;
        for (let i = 0; i < length; i++) sum += data[row * length + i];
        const mean = sum / length;
        let squares = 0;
        for (let i = 0; i < length; i++) squares += (data[row * length + i] - mean) ** 2;
        const spread = Math.sqrt(squares / length + epsilonOf(node));
        for (let i = row * length; i < (row + 1) * length; i++) {
          const c = Math.floor((Math.floor(i / inner) % channels) / perScale);
          result[i] = ((data[i] - mean) / spread) * scale[c] + bias[c];
        }
      }
    },
    compile(node, context) {
      const norm = context.task(normKernels["layer-norm"]);
      const affine = channelAffine(context);
      return {
        fits: (inputs) => allFloat(inputs) && inputs[0]?.shape[1] === inputs[1]?.shape[0],
        bind(inputs, outputs) {
          const input = required(inputs, 0);
          const output = required(outputs, 0);
          const { rows, length } = extent(node, input.shape);
          const { items, values } = planNorm(rows, length, epsilonOf(node));
          const none = { skip: 0, skipBias: 0, scale: 0, bias: 0, sum: 0 };
          const pointers = { ...none, input: input.pointer, output: output.pointer };
          norm.set({ ...values, ...pointers }, items, 4 * input.elements);
          const factors = channelShape(input.shape);
          const scale = required(inputs, 1).pointer;
          affine.bind(output.pointer, output, factors, scale, required(inputs, 2).pointer);
        },
        run() {
          norm.run();
          affine.run();
        },
      };
    },
  };
}

export const instanceNormalization = groupNorm((_, channels) => channels);
export const groupNormalization = groupNorm((node) => intAttribute(node, "num_groups", 1));
