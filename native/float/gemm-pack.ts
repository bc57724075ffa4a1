/**
 * Puts a strip of a strided matrix into the order in which the tiles read it: [k][width], a few lanes side by side.
 * The same function packs rows of A and columns of B.
 */
import {
  FunctionBuilder,
  f32,
  f32x4,
  type I32,
  i8x16,
  i32,
  memory,
  select,
  type V128,
  v128,
} from "../assembler/index.ts";

/** Bytes ← elements. */
export const elementsToBytes = (elements: I32): I32 => i32.shl(elements, i32.const(2));

/** The lesser of two signed integers. */
export const minimum = (a: I32, b: I32): I32 => select(a, b, i32.lt_s(a, b));

const low = (a: V128, b: V128) =>
  i8x16.shuffle(a, b, [0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23]);
const high = (a: V128, b: V128) =>
  i8x16.shuffle(a, b, [8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31]);
const lowHalves = (a: V128, b: V128) =>
  i8x16.shuffle(a, b, [0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23]);
const highHalves = (a: V128, b: V128) =>
  i8x16.shuffle(a, b, [8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31]);

/**
 * target[k · width + lane] = alpha · source[lane · laneStep + k · kStep], for lane < lanes; the lanes up to
 * `width` are 0.
 *
 * Parameters: target, source (bytes), lanes, width, laneStep, kStep (bytes), k, alpha.
 * Lanes side by side in memory (laneStep 4) are copied as vectors, lanes that run along k (kStep 4) go through 4 × 4
 * transposes; anything else moves element by element.
 */
export const pack: FunctionBuilder = buildPack();

function buildPack(): FunctionBuilder {
  const code = new FunctionBuilder("pack", [
    "i32",
    "i32",
    "i32",
    "i32",
    "i32",
    "i32",
    "i32",
    "f32",
  ]);
  const [target, source, lanes, width, laneStep, kStep, k] = Array.from({ length: 7 }, (_, index) =>
    code.parameter(index, "i32"),
  );
  const alpha = code.parameter(7, "f32");
  const factor = code.local("v128", f32x4.splat(alpha));
  const targetStep = code.local("i32", elementsToBytes(width));
  const lane = code.local("i32");
  const [from, to, at] = code.locals(3, "i32");
  const vectors = code.locals(4, "v128");
  const pairs = code.locals(4, "v128");
  code.if(i32.lt_s(lanes, width), () => {
    code.do(memory.fill(target, i32.const(0), i32.mul(targetStep, k)));
  });
  const next = () => {
    code.advance(from, kStep);
    code.advance(to, targetStep);
  };
  const scalars = () => {
    code.for(at, k, 1, () => {
      code.do(f32.store(to, f32.mul(alpha, f32.load(from))));
      next();
    });
  };
  const sideBySide = () => {
    code.for(at, k, 1, () => {
      code.do(v128.store(to, f32x4.mul(factor, v128.load(from))));
      next();
    });
  };
  const transposed = () => {
    code.for(at, i32.sub(k, i32.const(3)), 4, () => {
      const row = code.local("i32", from);
      vectors.forEach((vector) => {
        vector.set(f32x4.mul(factor, v128.load(row)));
        code.advance(row, laneStep);
      });
      const [a, b, c, d] = vectors;
      pairs[0].set(low(a, b));
      pairs[1].set(low(c, d));
      pairs[2].set(high(a, b));
      pairs[3].set(high(c, d));
      [lowHalves, highHalves, lowHalves, highHalves].forEach((join, index) => {
        const first = index < 2 ? 0 : 2;
        code.do(v128.store(to, join(pairs[first], pairs[first + 1])));
        code.advance(to, targetStep);
      });
      code.advance(from, 16);
    });
    code.for(at, k, 1, () => {
      const row = code.local("i32", from);
      [0, 4, 8, 12].forEach((offset) => {
        code.do(f32.store(to, f32.mul(alpha, f32.load(row)), offset));
        code.advance(row, laneStep);
      });
      next();
    });
  };
  const begin = () => {
    from.set(i32.add(source, i32.mul(lane, laneStep)));
    to.set(i32.add(target, elementsToBytes(lane)));
    at.set(i32.const(0));
  };
  const fours = (body: () => void) =>
    code.for(lane, i32.sub(lanes, i32.const(3)), 4, () => {
      begin();
      body();
    });
  code.if(
    i32.eq(laneStep, i32.const(4)),
    () => fours(sideBySide),
    () => code.if(i32.eq(kStep, i32.const(4)), () => fours(transposed)),
  );
  code.for(lane, lanes, 1, () => {
    begin();
    scalars();
  });
  return code;
}
