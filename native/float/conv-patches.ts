/**
 * im2col for a strip of output pixels, straight into panels of 8: [panel][channel · kernel position][8 pixels].
 */
import { f32, type I32, i8x16, i32, type Local, v128 } from "../assembler/index.ts";
import type { KernelCode } from "../kernel.ts";
import type { windowFields } from "./conv-window.ts";
import { elementsToBytes, minimum } from "./gemm-pack.ts";
import { panelColumns, panelRowBytes } from "./gemm-tile.ts";

export const patchFields = { channels: "i32", upY: "i32", upX: "i32" } as const;

type PatchFields = typeof windowFields & typeof patchFields;

export interface Patches {
  readonly code: KernelCode<PatchFields>;
  /** First byte of the image's first channel. */
  readonly image: I32;
  readonly target: I32;
  /** First output pixel (row-major) and how many. */
  readonly pixel: I32;
  readonly pixels: I32;
  /** channels · kernelHeight · kernelWidth. */
  readonly k: I32;
  /** Between the input's elements stand `up − 1` zeros: the input of a transposed convolution. */
  readonly isTransposed: boolean;
}

/**
 * Appends the packing. A panel whose pixels lie in one output row, with stride 1 or 2, is copied as vectors where the
 * window lies inside the image; anything else goes element by element.
 */
export function packPatches({
  code,
  image,
  target,
  pixel,
  pixels,
  k,
  isTransposed,
}: Patches): void {
  const { fields } = code;
  const { height, width, outWidth, kernelHeight, kernelWidth, strideX, channels } = fields;
  const [panel, count, lane, left, top, x, y, channel] = code.locals(8, "i32");
  const [to, row, plane, at] = code.locals(4, "i32");
  const value = code.local("f32");
  const planeBytes = code.local("i32", elementsToBytes(i32.mul(height, width)));
  const isInside = code.local("i32");

  /** Runs over the taps of a window whose corner is (left, top); `row` is the image row where it exists. */
  const taps = (body: () => void) => {
    plane.set(image);
    channel.set(i32.const(0));
    code.for(channel, channels, 1, () => {
      y.set(top);
      code.repeat(kernelHeight, () => {
        if (isTransposed) {
          isInside.set(
            i32.and(
              i32.and(i32.ge_s(y, i32.const(0)), i32.eqz(i32.rem_s(y, fields.upY))),
              i32.lt_s(i32.div_s(y, fields.upY), height),
            ),
          );
          row.set(i32.mul(i32.div_s(y, fields.upY), width));
        } else {
          isInside.set(i32.lt_u(y, height));
          row.set(i32.mul(y, width));
        }
        row.set(i32.add(plane, elementsToBytes(row)));
        x.set(left);
        code.repeat(kernelWidth, () => {
          body();
          code.advance(x, fields.dilationX);
          code.advance(to, panelRowBytes);
        });
        code.advance(y, fields.dilationY);
      });
      code.advance(plane, planeBytes);
    });
  };
  const column = (of: I32) => f32.load(i32.add(row, elementsToBytes(of)));
  /** The element at column `of`, 0 outside the image. */
  const loadOne = (of: Local<"i32">) => {
    value.set(f32.const(0));
    if (!isTransposed) {
      code.if(i32.and(isInside, i32.lt_u(of, width)), () => value.set(column(of)));
      return;
    }
    const [source, isHit] = [i32.div_s(of, fields.upX), i32.eqz(i32.rem_s(of, fields.upX))];
    const isThere = i32.and(i32.and(i32.ge_s(of, i32.const(0)), isHit), i32.lt_s(source, width));
    code.if(i32.and(isInside, isThere), () => value.set(column(source)));
  };
  const corner = (of: I32) => {
    left.set(i32.sub(i32.mul(i32.rem_u(of, outWidth), strideX), fields.padLeft));
    top.set(i32.sub(i32.mul(i32.div_u(of, outWidth), fields.strideY), fields.padTop));
  };
  const begin = () => i32.add(target, elementsToBytes(i32.mul(panel, k)));
  const scattered = () => {
    lane.set(i32.const(0));
    code.for(lane, count, 1, () => {
      corner(i32.add(i32.add(pixel, panel), lane));
      to.set(i32.add(begin(), elementsToBytes(lane)));
      taps(() => {
        loadOne(x);
        code.do(f32.store(to, value));
      });
    });
    code.for(lane, i32.const(panelColumns), 1, () => {
      to.set(i32.add(begin(), elementsToBytes(lane)));
      code.repeat(k, () => {
        code.do(f32.store(to, f32.const(0)));
        code.advance(to, panelRowBytes);
      });
    });
  };
  const evens = [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27];
  const inOneRow = (stride: 1 | 2) => {
    corner(i32.add(pixel, panel));
    to.set(begin());
    const reach = i32.add(x, i32.const(panelColumns * stride));
    taps(() => {
      const fits = i32.and(i32.ge_s(x, i32.const(0)), i32.le_s(reach, width));
      code.if(
        i32.and(isInside, fits),
        () => {
          at.set(i32.add(row, elementsToBytes(x)));
          [0, 16].forEach((offset) => {
            const vector =
              stride === 1
                ? v128.load(at, offset)
                : i8x16.shuffle(v128.load(at, 2 * offset), v128.load(at, 2 * offset + 16), evens);
            code.do(v128.store(to, vector, offset));
          });
        },
        () => {
          at.set(x);
          for (let index = 0; index < panelColumns; index += 1) {
            loadOne(at);
            code.do(f32.store(to, value, 4 * index));
            code.advance(at, stride);
          }
        },
      );
    });
  };
  panel.set(i32.const(0));
  code.for(panel, pixels, panelColumns, () => {
    count.set(minimum(i32.sub(pixels, panel), i32.const(panelColumns)));
    if (isTransposed) {
      scattered();
      return;
    }
    const last = i32.add(i32.rem_u(i32.add(pixel, panel), outWidth), i32.const(panelColumns));
    const isFull = i32.eq(count, i32.const(panelColumns));
    const isRow = code.local("i32", i32.and(isFull, i32.le_s(last, outWidth)));
    const has = (stride: number) => i32.and(isRow, i32.eq(strideX, i32.const(stride)));
    code.if(
      has(1),
      () => inOneRow(1),
      () =>
        code.if(
          has(2),
          () => inOneRow(2),
          () => scattered(),
        ),
    );
  });
}
