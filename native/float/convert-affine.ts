/**
 * QuantizeLinear and DequantizeLinear to and from 8 bits, per tensor or per axis.
 */
import {
  f32x4,
  i8x16,
  i16x8,
  i32,
  i32x4,
  type Local,
  type V128,
  v128,
} from "../assembler/index.ts";
import { defineKernel, type FieldValues, type Kernel, type KernelCode } from "../kernel.ts";
import { constant, forElements, integerConstant, smaller } from "./elements.ts";

/**
 * Addresses in bytes; `scale` float32 [channels], `zeroPoint` 0 or codes [channels].
 * The array is rows of `rowLength` elements, `count` in all (the last row may be short). `along` 0: row r has channel
 * r modulo channels; `along` 1: element i of every row has channel i, rowLength = channels.
 */
export const affineFields = {
  input: "i32",
  output: "i32",
  scale: "i32",
  zeroPoint: "i32",
  count: "i32",
  rowLength: "i32",
  channels: "i32",
  along: "i32",
} as const;

export type AffineKernel = Kernel<typeof affineFields>;
export type AffineName =
  | "f32-u8-quantize"
  | "f32-i8-quantize"
  | "u8-f32-dequantize"
  | "i8-f32-dequantize";

function buildAffine(
  code: KernelCode<typeof affineFields>,
  isSigned: boolean,
  isQuantize: boolean,
): void {
  const { fields } = code;
  const { count, rowLength, channels, along } = fields;
  const lowest = integerConstant(code, isSigned ? -128 : 0);
  const highest = integerConstant(code, isSigned ? 127 : 255);
  const farBelow = constant(code, -512);
  const farAbove = constant(code, 512);
  const byteMask = integerConstant(code, 255);
  const [inputBytes, outputBytes] = isQuantize ? [4, 1] : [1, 4];
  const [from, to, scaleAt, zeroAt] = code.locals(4, "i32");
  const [scale, zero, value] = code.locals(3, "v128");
  const code8 = isSigned ? i32.load8_s : i32.load8_u;
  const widen = (four: V128) =>
    isSigned
      ? i32x4.extend_low_i16x8_s(i16x8.extend_low_i8x16_s(four))
      : i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(four));
  const readCodes = (isWhole: boolean, at: Local<"i32">): V128 =>
    isWhole ? widen(v128.load32_zero(at)) : i32x4.splat(code8(at));

  const quantize = (isWhole: boolean) => {
    value.set(f32x4.div(isWhole ? v128.load(from) : v128.load32_splat(from), scale));
    // Clamped before the zero point is added, so that the sum cannot wrap.
    value.set(f32x4.pmin(f32x4.pmax(f32x4.nearest(value), farBelow), farAbove));
    value.set(i32x4.add(i32x4.trunc_sat_f32x4_s(value), zero));
    value.set(v128.and(i32x4.min_s(i32x4.max_s(value, lowest), highest), byteMask));
    if (!isWhole) code.do(i32.store8(to, i32x4.extract_lane(value, 0)));
    else {
      value.set(i16x8.narrow_i32x4_u(value, value));
      code.do(v128.store32_lane(to, i8x16.narrow_i16x8_u(value, value), 0));
    }
  };
  const dequantize = (isWhole: boolean) => {
    value.set(f32x4.mul(f32x4.convert_i32x4_s(i32x4.sub(readCodes(isWhole, from), zero)), scale));
    code.do(isWhole ? v128.store(to, value) : v128.store32_lane(to, value, 0));
  };
  const step = isQuantize ? quantize : dequantize;
  const moving = [
    { pointer: from, bytes: inputBytes },
    { pointer: to, bytes: outputBytes },
  ];

  const inputRow = i32.mul(rowLength, i32.const(inputBytes));
  const outputRow = i32.mul(rowLength, i32.const(outputBytes));
  from.set(i32.add(fields.input, i32.mul(code.begin, inputRow)));
  to.set(i32.add(fields.output, i32.mul(code.begin, outputRow)));
  code.for(code.begin, code.end, 1, (row) => {
    const length = smaller(code, rowLength, i32.sub(count, i32.mul(row, rowLength)));
    scaleAt.set(fields.scale);
    zeroAt.set(fields.zeroPoint);
    zero.set(v128.zero());
    const alongRow = (hasZero: boolean) => {
      const pointers = [
        ...moving,
        { pointer: scaleAt, bytes: 4 },
        ...(hasZero ? [{ pointer: zeroAt, bytes: 1 }] : []),
      ];
      forElements(code, length, 4, pointers, (isWhole) => {
        scale.set(isWhole ? v128.load(scaleAt) : v128.load32_splat(scaleAt));
        if (hasZero) zero.set(readCodes(isWhole, zeroAt));
        step(isWhole);
      });
    };
    code.if(
      along,
      () =>
        code.if(
          zeroAt,
          () => alongRow(true),
          () => alongRow(false),
        ),
      () => {
        const channel = code.local("i32", i32.rem_u(row, channels));
        scale.set(v128.load32_splat(i32.add(scaleAt, i32.mul(channel, i32.const(4)))));
        code.if(zeroAt, () => zero.set(i32x4.splat(code8(i32.add(zeroAt, channel)))));
        forElements(code, length, 4, moving, step);
      },
    );
  });
}

function affineKernel(name: AffineName): AffineKernel {
  return defineKernel({
    name: `${name}-simd128`,
    isa: "simd128",
    fields: affineFields,
    item: "row of rowLength elements",
    build: (code) => buildAffine(code, name.includes("i8"), name.startsWith("f32")),
  });
}

/**
 * quantize: saturate(round(x / scale) + zeroPoint), halves to the even integer, NaN as 0; dequantize:
 * (code − zeroPoint) · scale.
 *
 * Numerics: one float32 division or product: codes are those of the operator's definition in float32.
 */
export const affineKernels: Readonly<Record<AffineName, AffineKernel>> = {
  "f32-u8-quantize": affineKernel("f32-u8-quantize"),
  "f32-i8-quantize": affineKernel("f32-i8-quantize"),
  "u8-f32-dequantize": affineKernel("u8-f32-dequantize"),
  "i8-f32-dequantize": affineKernel("i8-f32-dequantize"),
};

export interface AffinePlan {
  readonly items: number;
  readonly values: Pick<
    FieldValues<typeof affineFields>,
    "count" | "rowLength" | "channels" | "along"
  >;
}

/** @param axis - of the scales; undefined for one scale. */
export function planAffine(shape: readonly number[], axis?: number): AffinePlan {
  const product = (sizes: readonly number[]) => sizes.reduce((total, size) => total * size, 1);
  const count = product(shape);
  const plan = (rowLength: number, channels: number, along: number) => ({
    items: rowLength === 0 ? 0 : Math.ceil(count / rowLength),
    values: { count, rowLength, channels, along },
  });
  if (axis === undefined) return plan(1024, 1, 0);
  const inner = product(shape.slice(axis + 1));
  return inner === 1 ? plan(shape[axis], shape[axis], 1) : plan(inner, shape[axis], 0);
}
