/**
 * QuantizeLinear, DequantizeLinear, DynamicQuantizeLinear: per tensor, per axis, in blocks.
 * Invariant: 8-bit codes per tensor or axis run on kernels; blocks and other widths in JavaScript.
 */
import { affineKernels, planAffine } from "../../../../native/index.ts";
import { type DType, dtypeFromCode } from "../../../core/tensor.ts";
import type {
  CompileContext,
  CompiledStep,
  Operator,
  OperatorNode,
  TensorType,
} from "../../session/operator.ts";
import { type HostTensor, isFloat, isStored } from "../../session/storage.ts";
import { axisOf, intAttribute, required } from "./attributes.ts";
import { aroundAxis } from "./reduce.ts";
import { roundToEven } from "./unary.ts";

const limits: Partial<Record<DType, readonly [number, number]>> = {
  uint8: [0, 255],
  int8: [-128, 127],
  uint16: [0, 65535],
  int16: [-32768, 32767],
  uint4: [0, 15],
  int4: [-8, 7],
  uint2: [0, 3],
  int2: [-2, 1],
};

/** The axis of the scales, or undefined for one scale. */
function scaleAxis(node: OperatorNode, input: TensorType, scale: TensorType): number | undefined {
  const isSingle = scale.shape.length <= 1 && (scale.shape[0] ?? 1) === 1;
  return isSingle ? undefined : axisOf(intAttribute(node, "axis", 1), input.shape.length);
}

/** Calls `visit` with each element and the index of its scale. */
function forScales(
  node: OperatorNode,
  input: HostTensor,
  scale: HostTensor,
  visit: (at: number, scaleIndex: number) => void,
): void {
  const axis = scaleAxis(node, input, scale);
  const block = intAttribute(node, "block_size", 0);
  const count = input.data.length;
  if (axis === undefined) {
    for (let i = 0; i < count; i++) visit(i, 0);
    return;
  }
  const { outer, size, inner } = aroundAxis(input.shape, axis);
  const blocks = block > 0 ? Math.ceil(size / block) : size;
  let at = 0;
  for (let row = 0; row < outer; row++) {
    for (let i = 0; i < size; i++) {
      const first = block > 0 ? (row * blocks + Math.floor(i / block)) * inner : i;
      for (let k = 0; k < inner; k++) visit(at++, block > 0 ? first + k : first);
    }
  }
}

/** Fast form over `planAffine`; `codes` is the side that holds 8-bit codes. */
function compileAffine(
  node: OperatorNode,
  context: CompileContext,
  operation: "quantize" | "dequantize",
): CompiledStep {
  const tasks =
    operation === "quantize"
      ? {
          uint8: context.task(affineKernels["f32-u8-quantize"]),
          int8: context.task(affineKernels["f32-i8-quantize"]),
        }
      : {
          uint8: context.task(affineKernels["u8-f32-dequantize"]),
          int8: context.task(affineKernels["i8-f32-dequantize"]),
        };
  let current = tasks.uint8;
  return {
    fits([input, scale], [output]) {
      const codes = operation === "quantize" ? output : input;
      const floats = operation === "quantize" ? input : output;
      return (
        (codes?.dtype === "uint8" || codes?.dtype === "int8") &&
        isFloat(floats?.dtype) &&
        isFloat(scale?.dtype) &&
        intAttribute(node, "block_size", 0) === 0
      );
    },
    bind(inputs, outputs) {
      const input = required(inputs, 0);
      const scale = required(inputs, 1);
      const output = required(outputs, 0);
      const codes = operation === "quantize" ? output : input;
      current = codes.dtype === "uint8" ? tasks.uint8 : tasks.int8;
      const { items, values } = planAffine(input.shape, scaleAxis(node, input, scale));
      const pointers = {
        input: input.pointer,
        output: output.pointer,
        scale: scale.pointer,
        zeroPoint: inputs[2]?.pointer ?? 0,
      };
      current.set({ ...values, ...pointers }, items, 4 * input.elements);
    },
    run: () => current.run(),
  };
}

const codeType = (node: OperatorNode, zeroPoint: TensorType | undefined): DType =>
  zeroPoint?.dtype ?? dtypeFromCode(intAttribute(node, "output_dtype", 0)) ?? "uint8";

const float32 = Math.fround;

export const quantizeLinear: Operator = {
  refuses(node, context) {
    const dtype = context.dtype(2) ?? codeType(node, undefined);
    return dtype in limits ? undefined : `quantizes to ${dtype}`;
  },
  infer: (node, inputs) => [{ dtype: codeType(node, inputs[2]), shape: required(inputs, 0).shape }],
  compute(node, inputs, outputs) {
    const input = required(inputs, 0);
    const scale = required(inputs, 1);
    const zero = inputs[2]?.data;
    const output = required(outputs, 0);
    const [low, high] = limits[output.dtype] ?? [0, 255];
    forScales(node, input, scale, (at, index) => {
      const code = roundToEven(float32(input.data[at] / scale.data[index])) + (zero?.[index] ?? 0);
      output.data[at] = Number.isNaN(code)
        ? (zero?.[index] ?? 0)
        : Math.min(high, Math.max(low, code));
    });
  },
  compile: (node, context) => compileAffine(node, context, "quantize"),
};

export const dequantizeLinear: Operator = {
  refuses(_, context) {
    const dtype = context.dtype(0);
    const isCode = dtype === undefined || dtype in limits || dtype === "int32";
    return isCode ? undefined : `dequantizes ${dtype}`;
  },
  infer(node, inputs) {
    const dtype = dtypeFromCode(intAttribute(node, "output_dtype", 0));
    const shape = required(inputs, 0).shape;
    return [{ dtype: isStored(dtype) ? dtype : required(inputs, 1).dtype, shape }];
  },
  compute(node, inputs, outputs) {
    const input = required(inputs, 0);
    const scale = required(inputs, 1);
    const zero = inputs[2]?.data;
    const { data } = required(outputs, 0);
    forScales(node, input, scale, (at, index) => {
      data[at] = (input.data[at] - (zero?.[index] ?? 0)) * scale.data[index];
    });
  },
  compile: (node, context) => compileAffine(node, context, "dequantize"),
};

/** Codes of 0 … 255 over the range of the input, which always holds 0. */
export const dynamicQuantizeLinear: Operator = {
  infer: (_, inputs) => [
    { dtype: "uint8", shape: required(inputs, 0).shape },
    { dtype: "float32", shape: [] },
    { dtype: "uint8", shape: [] },
  ],
  compute(_, inputs, outputs) {
    const { data } = required(inputs, 0);
    let low = 0;
    let high = 0;
    for (let i = 0; i < data.length; i++) {
      low = Math.min(low, data[i]);
      high = Math.max(high, data[i]);
    }
    const scale = float32(float32(high - low) / 255) || 1;
    const zero = Math.min(255, Math.max(0, roundToEven(float32(-low / scale))));
    const codes = outputs[0]?.data;
    for (let i = 0; codes && i < data.length; i++) {
      codes[i] = Math.min(255, Math.max(0, roundToEven(float32(data[i] / scale)) + zero));
    }
    outputs[1]?.data.fill(scale);
    outputs[2]?.data.fill(zero);
  },
};
