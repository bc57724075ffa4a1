/**
 * Conv and ConvTranspose over one or two axes. Constant weights are packed when the session opens, others in each run.
 */
import {
  type ConvPlan,
  conv,
  convTransposed,
  depthwiseConv,
  type Kernel,
  planConv,
  planConvTranspose,
  windowAxes,
} from "../../../../native/index.ts";
import type { Task } from "../../../engine/task.ts";
import type {
  CompileContext,
  CompiledStep,
  Operator,
  OperatorNode,
} from "../../session/operator.ts";
import { type HostTensor, isFloat } from "../../session/storage.ts";
import { intAttribute, intsAttribute } from "../tensor/attributes.ts";
import { forEachTap, whyNotWindow, windowOf } from "./window.ts";

type Sizes = readonly number[];

interface Convolution {
  readonly kernels: readonly Kernel[];
  plan(node: OperatorNode, shape: Sizes, weightShape: Sizes): ConvPlan;
  compute(node: OperatorNode, x: HostTensor, weight: HostTensor, out: HostTensor): void;
}

function planOf(
  { plan }: Convolution,
  node: OperatorNode,
  shape: Sizes = [],
  weightShape: Sizes = [],
): ConvPlan {
  if (shape.length !== weightShape.length || shape.length < 3 || shape.length > 4) {
    throw new RangeError(`weights [${weightShape}] over [${shape}]: one or two axes are expected`);
  }
  return plan(node, shape, weightShape);
}

/** Elements of one image that the kernels multiply with each other. */
const workOf = ({ shape, weightLength }: ConvPlan): number =>
  2 * weightLength * shape.slice(2).reduce((size, next) => size * next, shape[0]);

/** Smallest image that a window fits into: the layout of the weights does not depend on its size. */
function smallImage(node: OperatorNode, [out, channels, ...kernel]: Sizes, isTransposed: boolean) {
  const dilations = intsAttribute(node, "dilations");
  const group = intAttribute(node, "group", 1);
  const sizes = kernel.map((size, at) => (size - 1) * (dilations?.[at] ?? 1) + 1);
  return [1, isTransposed ? out : channels * group, ...sizes];
}

interface PackedWeight {
  readonly pointer: number;
  readonly shape: Sizes;
}

async function packedWeight(
  convolution: Convolution,
  node: OperatorNode,
  context: CompileContext,
): Promise<PackedWeight | undefined> {
  const weight = context.isConstant(1) ? await context.constant(1) : undefined;
  if (!weight || !isFloat(weight.dtype) || weight.shape.length < 3 || weight.shape.length > 4) {
    return undefined;
  }
  const { shape } = weight;
  if (shape.includes(0)) return undefined;
  const image = smallImage(node, shape, convolution === transposedConvolution);
  const plan = planOf(convolution, node, image, shape);
  const { pointer, bytes } = context.reserve(4 * plan.weightLength);
  const into = new Float32Array(bytes.buffer, bytes.byteOffset, plan.weightLength);
  plan.packWeight(into, weight.data as Float32Array);
  return { pointer, shape };
}

function convolutionOperator(convolution: Convolution): Operator {
  return {
    refuses: whyNotWindow,
    infer(node, [x, weight]) {
      const { shape } = planOf(convolution, node, x?.shape, weight?.shape);
      return [{ dtype: x?.dtype ?? "float32", shape }];
    },
    compute(node, [x, weight, bias], [out]) {
      if (!x || !weight || !out) return;
      out.data.fill(0);
      convolution.compute(node, x, weight, out);
      if (bias) addChannels(out, bias);
    },
    async compile(node, context): Promise<CompiledStep> {
      const packed = await packedWeight(convolution, node, context);
      const tasks = new Map<Kernel, Task>(
        convolution.kernels.map((kernel) => [kernel, context.task(kernel)]),
      );
      let run: () => void = () => undefined;
      const planFor = (x: Sizes = [], weight: Sizes | undefined) =>
        planOf(convolution, node, x, packed?.shape ?? weight);
      return {
        packed: packed ? [1] : [],
        // The kernels divide by the sizes of the weights; without elements there is next to nothing to compute.
        fits: ([x, weight]) =>
          isFloat(x?.dtype) && isFloat(weight?.dtype) && !weight?.shape.includes(0),
        workspaceBytes: ([x, weight]) =>
          packed ? 0 : 4 * planFor(x?.shape, weight?.shape).weightLength,
        bind([x, weight, bias], [out], workspace) {
          if (!x || !out) return;
          const plan = planFor(x.shape, weight?.shape);
          const task = tasks.get(plan.kernel);
          const pointers = {
            x: x.pointer,
            weight: packed?.pointer ?? workspace,
            bias: bias?.pointer ?? 0,
            out: out.pointer,
          };
          task?.set({ ...plan.values, ...pointers }, plan.items, workOf(plan));
          run = () => {
            if (!packed && weight) {
              const { buffer } = context.memory();
              const into = new Float32Array(buffer, workspace, plan.weightLength);
              plan.packWeight(into, new Float32Array(buffer, weight.pointer, weight.elements));
            }
            task?.run();
          };
        },
        run: () => run(),
      };
    },
  };
}

/** out[n, c, …] += bias[c] */
function addChannels({ data, shape }: HostTensor, bias: HostTensor): void {
  const area = shape.slice(2).reduce((size, next) => size * next, 1);
  for (let at = 0; at < data.length; at++) data[at] += bias.data[Math.floor(at / area) % shape[1]];
}

const planOfConv: Convolution["plan"] = (node, shape, weightShape) =>
  planConv(shape, weightShape, { ...windowOf(node), group: intAttribute(node, "group", 1) });

/** Sums in float64. */
function computeConv(node: OperatorNode, x: HostTensor, weight: HostTensor, out: HostTensor): void {
  const [batch, allChannels, ...sizes] = x.shape;
  const [allOut, channels, ...kernelShape] = weight.shape;
  const axes = windowAxes(sizes, { ...windowOf(node), kernelShape });
  const [rows, columns] = [axes[0].out, axes[1].out];
  const image = axes[0].size * axes[1].size;
  const taps = axes[0].kernel * axes[1].kernel;
  const perGroup = allOut / intAttribute(node, "group", 1);
  for (let n = 0; n < batch; n++) {
    for (let o = 0; o < allOut; o++) {
      const first = n * allChannels + Math.floor(o / perGroup) * channels;
      for (let y = 0; y < rows; y++) {
        for (let column = 0; column < columns; column++) {
          let sum = 0;
          forEachTap(axes, y, column, (element, tap) => {
            for (let c = 0; c < channels; c++) {
              const factor = weight.data[(o * channels + c) * taps + tap];
              sum += x.data[(first + c) * image + element] * factor;
            }
          });
          out.data[((n * allOut + o) * rows + y) * columns + column] = sum;
        }
      }
    }
  }
}

const planOfTransposed: Convolution["plan"] = (node, shape, weightShape) => {
  const outputPadding = intsAttribute(node, "output_padding");
  const outputShape = intsAttribute(node, "output_shape");
  return planConvTranspose(shape, weightShape, {
    ...windowOf(node),
    group: intAttribute(node, "group", 1),
    ...(outputPadding && { outputPadding }),
    ...(outputShape && { outputShape }),
  });
};

/** Spreads each input element over the output. Sums in the type of the result. */
function computeTransposed(
  node: OperatorNode,
  x: HostTensor,
  weight: HostTensor,
  out: HostTensor,
): void {
  const { values } = planOfTransposed(node, x.shape, weight.shape);
  const [batch, channels, ...sizes] = x.shape;
  const [height, width] = sizes.length === 2 ? sizes : [1, sizes[0]];
  const { outHeight, outWidth, kernelHeight, kernelWidth, dilationY, dilationX } = values;
  const perGroup = weight.shape[1];
  const inGroup = channels / intAttribute(node, "group", 1);
  const allOut = out.shape[1];
  // The kernel's padding is the reach of the window without what is cut off.
  const top = (kernelHeight - 1) * dilationY - values.padTop;
  const left = (kernelWidth - 1) * dilationX - values.padLeft;
  const taps = kernelHeight * kernelWidth;
  for (let at = 0; at < batch * channels * height * width; at++) {
    const column = at % width;
    const row = Math.floor(at / width) % height;
    const channel = Math.floor(at / (width * height)) % channels;
    const n = Math.floor(at / (width * height * channels));
    const firstOut = n * allOut + Math.floor(channel / inGroup) * perGroup;
    for (let o = 0; o < perGroup; o++) {
      for (let tap = 0; tap < taps; tap++) {
        const y = row * values.upY - top + Math.floor(tap / kernelWidth) * dilationY;
        const to = column * values.upX - left + (tap % kernelWidth) * dilationX;
        if (y < 0 || y >= outHeight || to < 0 || to >= outWidth) continue;
        const factor = weight.data[(channel * perGroup + o) * taps + tap];
        out.data[((firstOut + o) * outHeight + y) * outWidth + to] += x.data[at] * factor;
      }
    }
  }
}

const plainConvolution: Convolution = {
  kernels: [conv as unknown as Kernel, depthwiseConv as unknown as Kernel],
  plan: planOfConv,
  compute: computeConv,
};
const transposedConvolution: Convolution = {
  kernels: [convTransposed as unknown as Kernel],
  plan: planOfTransposed,
  compute: computeTransposed,
};

export const convOperator = convolutionOperator(plainConvolution);
export const convTransposeOperator = convolutionOperator(transposedConvolution);
