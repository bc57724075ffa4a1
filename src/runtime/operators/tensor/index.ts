/** Operators over tensors of any kind: shapes, copies, elements, reductions, codes. */
import type { Operator } from "../../session/operator.ts";
import { dequantizeLinear, dynamicQuantizeLinear, quantizeLinear } from "./affine.ts";
import { argMax, argMin } from "./arg-extreme.ts";
import * as binary from "./binary.ts";
import { cast, castLike, isInfinite, isNotANumber, not } from "./cast.ts";
import { batchNormalization, groupNormalization, instanceNormalization } from "./channel-norm.ts";
import { clip } from "./clip.ts";
import { concat, split } from "./concat.ts";
import { expand, tile } from "./expand.ts";
import { gather, gatherElements, gatherND } from "./gather.ts";
import { constant, constantOfShape, eyeLike, oneHot, range } from "./generate.ts";
import { pad } from "./pad.ts";
import { reductions } from "./reduce.ts";
import { resize, upsample } from "./resize.ts";
import { cumulativeSum, nonZero, topK, trilu } from "./scan.ts";
import { scatterElements, scatterND } from "./scatter.ts";
import { dropout, flatten, identity, reshape, shape, size, squeeze, unsqueeze } from "./shapes.ts";
import { slice } from "./slice.ts";
import { logSoftmax, softmax } from "./softmax.ts";
import { depthToSpace, spaceToDepth } from "./space-depth.ts";
import { transpose } from "./transpose.ts";
import { unaryOperators } from "./unary.ts";
import { maximum, mean, minimum, sum } from "./variadic.ts";
import { where } from "./where.ts";

export const tensorOperators: Readonly<Record<string, Operator>> = {
  Shape: shape,
  Size: size,
  Reshape: reshape,
  Squeeze: squeeze,
  Unsqueeze: unsqueeze,
  Flatten: flatten,
  Identity: identity,
  Dropout: dropout,
  Constant: constant,
  ConstantOfShape: constantOfShape,
  Range: range,
  OneHot: oneHot,
  EyeLike: eyeLike,
  Concat: concat,
  Split: split,
  Slice: slice,
  Transpose: transpose,
  Expand: expand,
  Tile: tile,
  Pad: pad,
  DepthToSpace: depthToSpace,
  SpaceToDepth: spaceToDepth,
  Gather: gather,
  GatherElements: gatherElements,
  GatherND: gatherND,
  ScatterElements: scatterElements,
  ScatterND: scatterND,
  Cast: cast,
  CastLike: castLike,
  Where: where,
  Not: not,
  IsNaN: isNotANumber,
  IsInf: isInfinite,
  Trilu: trilu,
  CumSum: cumulativeSum,
  NonZero: nonZero,
  TopK: topK,
  Add: binary.add,
  Sub: binary.subtract,
  Mul: binary.multiply,
  Div: binary.divide,
  Pow: binary.power,
  Mod: binary.modulo,
  PRelu: binary.prelu,
  Equal: binary.equal,
  Less: binary.less,
  LessOrEqual: binary.lessOrEqual,
  Greater: binary.greater,
  GreaterOrEqual: binary.greaterOrEqual,
  And: binary.and,
  Or: binary.or,
  Xor: binary.xor,
  BitwiseAnd: binary.bitwiseAnd,
  BitwiseOr: binary.bitwiseOr,
  BitwiseXor: binary.bitwiseXor,
  Min: minimum,
  Max: maximum,
  Sum: sum,
  Mean: mean,
  Clip: clip,
  ...unaryOperators,
  ...reductions,
  ArgMax: argMax,
  ArgMin: argMin,
  Softmax: softmax,
  LogSoftmax: logSoftmax,
  QuantizeLinear: quantizeLinear,
  DequantizeLinear: dequantizeLinear,
  BatchNormalization: batchNormalization,
  InstanceNormalization: instanceNormalization,
  GroupNormalization: groupNormalization,
  Resize: resize,
  Upsample: upsample,
  DynamicQuantizeLinear: dynamicQuantizeLinear,
};
