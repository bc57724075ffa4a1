/**
 * RMS norm and layer norm of rows, with an optional residual: what LayerNormalization, SimplifiedLayerNormalization,
 * SkipLayerNormalization, SkipSimplifiedLayerNormalization and the norm of each attention head compute.
 * Two passes over the row; the statistics are float64, so the error does not grow with the mean or the length.
 */
import {
  f32,
  f32x4,
  f64,
  f64x2,
  i32,
  type Local,
  select,
  type V128,
  v128,
} from "../assembler/index.ts";
import { defineKernel, type FieldValues, type Kernel, type KernelCode } from "../kernel.ts";
import { forElements, highHalf } from "./elements.ts";

/**
 * Addresses in bytes, 0 where an operand is missing; all arrays are float32.
 * `input`, `output`, `sum`: [rows, length]; `skip`: [skipRows, length], row r uses its row r modulo skipRows;
 * `skipBias`, `scale`, `bias`: [length]. `sum` gets input + skip + skipBias.
 * `output` may be `input`, or `skip` if skipRows is rows; `sum` may be `input`; `output` and `sum` must differ.
 */
export const normFields = {
  input: "i32",
  skip: "i32",
  skipBias: "i32",
  scale: "i32",
  bias: "i32",
  output: "i32",
  sum: "i32",
  skipRows: "i32",
  length: "i32",
  epsilon: "f32",
} as const;

export type NormName = "rms-norm" | "layer-norm";
export type NormKernel = Kernel<typeof normFields>;

function normKernel(name: NormName): NormKernel {
  return defineKernel({
    name: `f32-${name}-simd128`,
    isa: "simd128",
    fields: normFields,
    item: "row",
    build: (code) => buildNorm(code, name === "layer-norm"),
  });
}

function buildNorm(code: KernelCode<typeof normFields>, isCentred: boolean): void {
  const { fields } = code;
  const { length } = fields;
  const rowBytes = code.local("i32", i32.mul(length, i32.const(4)));
  const [x, skip, skipBias, scale, bias, to] = code.locals(6, "i32");
  const [low, high, value] = code.locals(3, "v128");
  const firstLaneOnly = code.local(
    "v128",
    v128.const([...Array(8).fill(255), ...Array(8).fill(0)]),
  );
  const mean = code.local("f64");
  const moving = (...pointers: Local<"i32">[]) =>
    pointers.map((pointer) => ({ pointer, bytes: 4 }));
  const read = (isWhole: boolean, from: Local<"i32">): V128 =>
    isWhole ? v128.load(from) : v128.load32_splat(from);
  const write = (isWhole: boolean, stored: V128) =>
    code.do(isWhole ? v128.store(to, stored) : v128.store32_lane(to, stored, 0));

  /** Σ term(value) of the row, in float64; one element counts once. */
  const accumulate = (isWhole: boolean, term: (x: V128) => V128) => {
    if (isWhole) {
      low.set(f64x2.add(low, term(f64x2.promote_low_f32x4(value))));
      high.set(f64x2.add(high, term(f64x2.promote_low_f32x4(highHalf(value)))));
      return;
    }
    const single = v128.and(term(f64x2.promote_low_f32x4(value)), firstLaneOnly);
    low.set(f64x2.add(low, single));
  };
  const clear = () => {
    low.set(v128.zero());
    high.set(v128.zero());
  };
  const total = () => {
    low.set(f64x2.add(low, high));
    return f64.div(
      f64.add(f64x2.extract_lane(low, 0), f64x2.extract_lane(low, 1)),
      f64.convert_i32_s(length),
    );
  };
  const square = code.local("v128");
  const squared = (shift?: V128) => (given: V128) => {
    square.set(shift ? f64x2.sub(given, shift) : given);
    return f64x2.mul(square, square);
  };
  const first = isCentred ? (given: V128) => given : squared();

  code.for(code.begin, code.end, 1, (row) => {
    const offset = code.local("i32", i32.mul(row, rowBytes));
    x.set(i32.add(fields.input, offset));
    clear();
    code.if(
      fields.skip,
      () => {
        // The sum is kept where the caller wants it, or in the output until it is normalised.
        const kept = select(fields.sum, fields.output, fields.sum);
        to.set(i32.add(kept, offset));
        skip.set(i32.add(fields.skip, i32.mul(i32.rem_u(row, fields.skipRows), rowBytes)));
        skipBias.set(fields.skipBias);
        code.if(
          skipBias,
          () =>
            forElements(code, length, 4, moving(x, skip, skipBias, to), (isWhole) => {
              value.set(f32x4.add(read(isWhole, x), read(isWhole, skip)));
              value.set(f32x4.add(value, read(isWhole, skipBias)));
              write(isWhole, value);
              accumulate(isWhole, first);
            }),
          () =>
            forElements(code, length, 4, moving(x, skip, to), (isWhole) => {
              value.set(f32x4.add(read(isWhole, x), read(isWhole, skip)));
              write(isWhole, value);
              accumulate(isWhole, first);
            }),
        );
        x.set(i32.add(kept, offset));
      },
      () => {
        forElements(code, length, 4, moving(x), (isWhole) => {
          value.set(read(isWhole, x));
          accumulate(isWhole, first);
        });
        code.advance(x, i32.sub(i32.const(0), rowBytes));
      },
    );
    mean.set(total());
    const meanHigh = code.local("v128");
    const meanLow = code.local("v128");
    if (isCentred) {
      // x − high is exact near the mean, so that two steps lose nothing where one would.
      const rounded = f32.demote_f64(mean);
      meanHigh.set(f32x4.splat(rounded));
      meanLow.set(
        f32x4.splat(
          f32.demote_f64(f64.sub(mean, f64.promote_f32(f32x4.extract_lane(meanHigh, 0)))),
        ),
      );
      const shift = code.local("v128", f64x2.splat(mean));
      clear();
      forElements(code, length, 4, moving(x), (isWhole) => {
        value.set(read(isWhole, x));
        accumulate(isWhole, squared(shift));
      });
      code.advance(x, i32.sub(i32.const(0), rowBytes));
      mean.set(total());
    }
    const spread = f64.sqrt(f64.add(mean, f64.promote_f32(fields.epsilon)));
    const factor = code.local("v128", f32x4.splat(f32.demote_f64(f64.div(f64.const(1), spread))));
    const normalised = (isWhole: boolean): V128 => {
      const given = read(isWhole, x);
      const centred = isCentred ? f32x4.sub(f32x4.sub(given, meanHigh), meanLow) : given;
      return f32x4.mul(centred, factor);
    };
    to.set(i32.add(fields.output, offset));
    scale.set(fields.scale);
    bias.set(fields.bias);
    code.if(
      scale,
      () =>
        code.if(
          bias,
          () =>
            forElements(code, length, 4, moving(x, scale, bias, to), (isWhole) => {
              const scaled = f32x4.mul(normalised(isWhole), read(isWhole, scale));
              write(isWhole, f32x4.add(scaled, read(isWhole, bias)));
            }),
          () =>
            forElements(code, length, 4, moving(x, scale, to), (isWhole) => {
              write(isWhole, f32x4.mul(normalised(isWhole), read(isWhole, scale)));
            }),
        ),
      () =>
        forElements(code, length, 4, moving(x, to), (isWhole) => {
          write(isWhole, normalised(isWhole));
        }),
    );
  });
}

/**
 * y = (x − mean) / √(variance + epsilon) · scale + bias ("layer-norm"), x / √(mean(x²) + epsilon) · scale ("rms-norm").
 *
 * Cost: two reads of the row for rms-norm, three for layer-norm; the later ones come from cache.
 * Numerics: |error| ≤ 4·2⁻²⁴·(|y − bias| + |y|). A bias without a scale is ignored.
 */
export const normKernels: Readonly<Record<NormName, NormKernel>> = {
  "rms-norm": normKernel("rms-norm"),
  "layer-norm": normKernel("layer-norm"),
};

export interface NormPlan {
  readonly items: number;
  readonly values: Pick<FieldValues<typeof normFields>, "skipRows" | "length" | "epsilon">;
}

/** @param skipRows - rows of `skip`; default as many as the input has. */
export function planNorm(
  rows: number,
  length: number,
  epsilon: number,
  skipRows = Math.max(rows, 1),
): NormPlan {
  return { items: rows, values: { skipRows, length, epsilon } };
}
