/**
 * The kernels and what the runtime needs to use them.
 */

export { fitGridRows } from "./dense/fit.ts";
export {
  paddedLines,
  stripLines,
  stripRowBytes,
  stripsOf,
  upperPanelBytes,
  upperPanelOffset,
  upperPanels,
} from "./dense/layout.ts";
export { type MultiplyMode, type MultiplyShape, multiply, planMultiply } from "./dense/multiply.ts";
export { roundStrips } from "./dense/round.ts";
export { symmetricItems, symmetricUpdate } from "./dense/symmetric.ts";
export { solveTransposed, solveUpper, transposePanels } from "./dense/triangular.ts";
export { attention } from "./float/attention.ts";
export {
  type AttentionPlan,
  type AttentionShape,
  type HeadStrides,
  headStrides,
  planAttention,
} from "./float/attention-plan.ts";
export {
  type BinaryName,
  type BinaryPlan,
  binaryKernels,
  planBinary,
} from "./float/binary.ts";
export { broadcastShape, broadcastStrides } from "./float/broadcast.ts";
export { conv, convTransposed } from "./float/conv.ts";
export { depthwiseConv } from "./float/conv-depthwise.ts";
export {
  type ConvAttributes,
  type ConvPlan,
  type ConvTransposeAttributes,
  planConv,
  planConvTranspose,
} from "./float/conv-plan.ts";
export { type Axis, type WindowAttributes, windowAxes } from "./float/conv-window.ts";
export { type ConvertName, convertKernels, planConvert } from "./float/convert.ts";
export { type AffineName, affineKernels, planAffine } from "./float/convert-affine.ts";
export {
  type CopyPlan,
  copyKernels,
  permutedWalk,
  planCopy,
  transposeKernel,
  type Walk,
} from "./float/copy.ts";
export { gatherKernel, planGather } from "./float/copy-gather.ts";
export {
  type GemmOptions,
  type GemmPlan,
  gemm,
  packedGemmLength,
  packGemm,
  planGemm,
} from "./float/gemm.ts";
export { matmul } from "./float/gemm-strided.ts";
export { type MatmulOperand, type MatmulOptions, planMatmul } from "./float/gemm-strided-plan.ts";
export { contiguousStrides } from "./float/levels.ts";
export { type NormName, normKernels, planNorm } from "./float/norm.ts";
export { averagePool, maxPool, type PoolAttributes, planPool } from "./float/pool.ts";
export {
  planReduce,
  type ReduceName,
  type ReductionExtent,
  reduceKernels,
  reductionExtent,
} from "./float/reduce.ts";
export { type ArgumentName, argumentKernels, planArgument } from "./float/reduce-argument.ts";
export { planRotary, type RotaryPlan, type RotaryShape, rotary } from "./float/rotary.ts";
export {
  planSoftmax,
  planSoftmaxColumns,
  type SoftmaxName,
  softmaxColumnKernels,
  softmaxKernels,
} from "./float/softmax.ts";
export { planUnary, type UnaryName, unaryForPower, unaryKernels } from "./float/unary.ts";
export { type ElementBytes, planWhere, whereKernels } from "./float/where.ts";
export {
  assembleKernels,
  type Fields,
  type FieldValues,
  type Isa,
  type Kernel,
  type KernelFunction,
  taskBytes,
  writeTask,
} from "./kernel.ts";
export * from "./low-bit/index.ts";
export { activationTypeFor, availableTiers, type Tier, type Tiers } from "./tiers.ts";
