/**
 * Kernels that fold the taps of a window channel by channel: depthwise convolution and the pools. Four outputs of
 * a row at a time where the window lies inside the image and the stride is 1 or 2, else one at a time with the same
 * code in lane 0.
 */
import { type I32, i8x16, i32, type Local, type V128, v128 } from "../assembler/index.ts";
import { defineKernel, type Fields, type KernelCode } from "../kernel.ts";
import { windowFields } from "./conv-window.ts";
import { elementsToBytes } from "./gemm-pack.ts";

const slideFields = { x: "i32", out: "i32", ...windowFields } as const;
type SlideFields = typeof slideFields;

export interface Taps {
  /** Output channel over all batches. */
  readonly channel: Local<"i32">;
  /** Tap of the kernel, row-major. */
  readonly tap: Local<"i32">;
  /** Taps of the window that count, rows × columns; only if the fold asks for them. */
  readonly counted: Local<"i32">;
}

export interface Fold<F extends Fields> {
  readonly name: string;
  readonly fields: F;
  /** Input channels per output channel, over all batches. */
  inputChannel?(code: KernelCode<SlideFields & F>, channel: I32): I32;
  /** [first, end) of the rows and columns that count as taps. */
  counts?(
    code: KernelCode<SlideFields & F>,
  ): Readonly<Record<"top" | "bottom" | "left" | "right", I32>>;
  /** Called once per kernel; the functions it gives, once per place in the code. */
  build(
    code: KernelCode<SlideFields & F>,
    taps: Taps,
  ): {
    start(): V128;
    step(sum: V128, value: V128): V128;
    finish(sum: V128): V128;
  };
}

/** The kernel of a fold; items are rows of the output. */
export function defineSlide<const F extends Fields>(fold: Fold<F>) {
  return defineKernel<SlideFields & F>({
    name: fold.name,
    isa: "simd128",
    fields: { ...slideFields, ...fold.fields },
    item: "row of the output of one channel",
    build(code) {
      const fields = code.fields as KernelCode<SlideFields>["fields"];
      const { height, width, outHeight, outWidth, kernelHeight, kernelWidth } = fields;
      const { strideX, dilationX, dilationY } = fields;
      const [channel, tap, counted, plane, x, left, top, y, column, to] = code.locals(10, "i32");
      const [row, rowsCounted, columnsCounted, step, limit] = code.locals(5, "i32");
      const [sum, value] = code.locals(2, "v128");
      const use = fold.build(code, { channel, tap, counted });
      const bounds = fold.counts?.(code);
      const count = (
        total: Local<"i32">,
        from: I32,
        taps: I32,
        dilation: I32,
        low: I32,
        high: I32,
      ) => {
        const place = code.local("i32", from);
        total.set(i32.const(0));
        code.repeat(taps, () => {
          const isCounted = i32.and(i32.ge_s(place, low), i32.lt_s(place, high));
          total.set(i32.add(total, isCounted));
          code.advance(place, dilation);
        });
      };
      /** Folds the window at `left`; `load` gives the values at a byte address, guarded where `isChecked`. */
      const foldWindow = (isChecked: boolean, load: (address: I32) => V128) => {
        sum.set(use.start());
        y.set(top);
        tap.set(i32.const(0));
        code.repeat(kernelHeight, () => {
          code.if(
            i32.lt_u(y, height),
            () => {
              row.set(i32.add(plane, elementsToBytes(i32.mul(y, width))));
              column.set(left);
              code.repeat(kernelWidth, () => {
                const take = () => {
                  value.set(load(i32.add(row, elementsToBytes(column))));
                  sum.set(use.step(sum, value));
                };
                if (isChecked) code.if(i32.lt_u(column, width), take);
                else take();
                code.advance(column, dilationX);
                code.advance(tap, 1);
              });
            },
            () => code.advance(tap, kernelWidth),
          );
          code.advance(y, dilationY);
        });
      };
      const evens = [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27];
      const byTwo = (address: I32) =>
        i8x16.shuffle(v128.load(address), v128.load(address, 16), evens);
      const store = (lanes: 1 | 4) => {
        if (bounds) counted.set(i32.mul(rowsCounted, columnsCounted));
        sum.set(use.finish(sum));
        code.do(lanes === 4 ? v128.store(to, sum) : v128.store32_lane(to, sum, 0));
        code.advance(to, 4 * lanes);
        step.set(i32.const(lanes));
      };
      const vector = (load: (address: I32) => V128) => {
        foldWindow(false, load);
        columnsCounted.set(kernelWidth);
        store(4);
      };
      const single = () => {
        foldWindow(true, (address) => v128.load32_zero(address));
        if (bounds) {
          count(columnsCounted, left, kernelWidth, dilationX, bounds.left, bounds.right);
        }
        store(1);
      };
      const reach = code.local("i32", i32.mul(i32.sub(kernelWidth, i32.const(1)), dilationX));
      const item = code.local("i32", code.begin);
      code.for(item, code.end, 1, () => {
        channel.set(i32.div_u(item, outHeight));
        const input = fold.inputChannel?.(code, channel) ?? channel;
        plane.set(i32.add(fields.x, elementsToBytes(i32.mul(i32.mul(input, height), width))));
        top.set(i32.sub(i32.mul(i32.rem_u(item, outHeight), fields.strideY), fields.padTop));
        if (bounds) count(rowsCounted, top, kernelHeight, dilationY, bounds.top, bounds.bottom);
        to.set(i32.add(fields.out, elementsToBytes(i32.mul(item, outWidth))));
        x.set(i32.const(0));
        code.while(i32.lt_s(x, outWidth), () => {
          left.set(i32.sub(i32.mul(x, strideX), fields.padLeft));
          limit.set(i32.sub(i32.sub(width, left), reach));
          const isFour = i32.and(
            i32.ge_s(left, i32.const(0)),
            i32.le_s(i32.add(x, i32.const(4)), outWidth),
          );
          const fits = (stride: number) =>
            i32.and(
              i32.and(isFour, i32.eq(strideX, i32.const(stride))),
              i32.ge_s(limit, i32.const(4 * stride)),
            );
          code.if(
            fits(1),
            () => vector((address) => v128.load(address)),
            () => code.if(fits(2), () => vector(byTwo), single),
          );
          code.advance(x, step);
        });
      });
    },
  });
}
