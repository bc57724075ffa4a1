import { describe, expect, test } from "vitest";
import { signed, unsigned } from "../../../native/assembler/expression.ts";
import type { Expression } from "../../../native/assembler/index.ts";
import {
  assembleModule,
  FunctionBuilder,
  f32,
  f32x4,
  f64,
  f64x2,
  i8x16,
  i16x8,
  i32,
  i32x4,
  i64,
  memory as memoryInstructions,
  select,
  type ValueType,
  v128,
} from "../../../native/assembler/index.ts";

function instantiate(functions: readonly FunctionBuilder[]) {
  const bytes = assembleModule(functions, { shared: false, maximumPages: 1 });
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1 });
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory } });
  return { exports: exports as Record<string, (...values: number[]) => number>, memory };
}

describe("LEB128", () => {
  test("unsigned and signed numbers at the edges of their bytes", () => {
    expect(unsigned(0)).toEqual([0]);
    expect(unsigned(127)).toEqual([127]);
    expect(unsigned(128)).toEqual([128, 1]);
    expect(unsigned(0xffffffff)).toEqual([255, 255, 255, 255, 15]);
    expect(signed(63)).toEqual([63]);
    expect(signed(64)).toEqual([192, 0]);
    expect(signed(-1)).toEqual([127]);
    expect(signed(-65)).toEqual([191, 127]);
  });
});

describe("functions", () => {
  test("control flow: repeat, for, while, if", () => {
    const sum = new FunctionBuilder("sum", ["i32"], "i32");
    const n = sum.parameter(0, "i32");
    const total = sum.local("i32");
    const at = sum.local("i32");
    sum.for(at, n, 1, () => {
      sum.if(
        i32.eqz(i32.rem_u(at, i32.const(2))),
        () => total.set(i32.add(total, at)),
        () => total.set(i32.sub(total, i32.const(1))),
      );
    });
    sum.repeat(3, (counter) => total.set(i32.add(total, i32.mul(counter, i32.const(1000)))));
    sum.give(total);
    const { exports } = instantiate([sum]);
    expect(exports.sum(10)).toBe(0 + 2 + 4 + 6 + 8 - 5 + 6000);
    expect(exports.sum(0)).toBe(6000);
  });

  test("calls bring the callee into the module", () => {
    const square = new FunctionBuilder("square", ["f32"], "f32") as FunctionBuilder & {
      readonly result: "f32";
    };
    const x = square.parameter(0, "f32");
    square.give(f32.mul(x, x));
    const caller = new FunctionBuilder("caller", ["f32"], "f32");
    const y = caller.parameter(0, "f32");
    caller.give(f32.add(caller.call(square, y), f32.const(1)));
    const { exports } = instantiate([caller]);
    expect(exports.caller(3)).toBe(10);
    expect(exports.square).toBeUndefined();
  });

  test("operands of the wrong type are refused", () => {
    expect(() => i32.add(i32.const(1), f32.const(1) as never)).toThrow(/f32 where i32/);
    expect(() => i32x4.extract_lane(v128.zero(), 4)).toThrow(/lane 4 of 4/);
  });
});

describe("every instruction validates with the operands its type names", () => {
  const samples: Readonly<Record<ValueType, Expression<ValueType>>> = {
    i32: i32.const(3),
    i64: i64.const(3n),
    f32: f32.const(3),
    f64: f64.const(3),
    v128: v128.const(Uint8Array.from({ length: 16 }, (_, at) => at)),
  };
  const families = { i32, i64, f32, f64, v128, i8x16, i16x8, i32x4, f32x4, f64x2 };
  const cases = Object.entries(families).flatMap(([family, members]) =>
    Object.entries(members).map(([name, instruction]) => ({
      name: `${family}.${name}`,
      instruction: instruction as (...operands: unknown[]) => Expression<ValueType | "void">,
    })),
  );
  /** What the operands are is found by trying: the table of the assembler refuses the wrong ones. */
  const operandLists = (): unknown[][] => {
    const values = Object.values(samples);
    const twos = values.flatMap((a) => values.map((b) => [a, b]));
    return [
      [7],
      [7n],
      [new Uint8Array(16)],
      [],
      ...values.map((a) => [a]),
      ...twos,
      [samples.v128, 0],
      [samples.v128, samples.v128, Array.from({ length: 16 }, (_, at) => at)],
      [samples.v128, samples.v128, samples.v128],
      ...values.map((a) => [samples.v128, 0, a]),
      [samples.i32, samples.v128, 1],
    ];
  };
  test.each(cases)("$name", ({ name, instruction }) => {
    const built = operandLists().flatMap((operands) => {
      try {
        return [instruction(...operands)];
      } catch {
        return [];
      }
    });
    const valid = built.some(({ type, code }) => {
      const f = new FunctionBuilder("f", [], type === "void" ? undefined : type);
      f.give({ type, code } as Expression<ValueType>);
      return WebAssembly.validate(assembleModule([f], { shared: false, maximumPages: 1 }));
    });
    const isRelaxed = name.includes("relaxed");
    const canRelax = Number(process.versions.node.split(".")[0]) >= 22;
    if (!isRelaxed || canRelax) expect(valid, name).toBe(true);
    else expect(built.length).toBeGreaterThan(0);
  });
});

describe("values", () => {
  const evaluate = (value: Expression<"v128">): Uint8Array => {
    const f = new FunctionBuilder("f", []);
    f.do(v128.store(i32.const(0), value));
    const { exports, memory } = instantiate([f]);
    exports.f();
    return new Uint8Array(memory.buffer, 0, 16);
  };
  const lanes = (...values: number[]) => v128.const(new Uint8Array(Int32Array.from(values).buffer));
  const words = (...values: number[]) => v128.const(new Uint8Array(Int16Array.from(values).buffer));

  test("vector arithmetic computes what its name says", () => {
    const ints = (value: Expression<"v128">) => [...new Int32Array(evaluate(value).slice().buffer)];
    const floats = (value: Expression<"v128">) => [
      ...new Float32Array(evaluate(value).slice().buffer),
    ];
    expect(ints(i32x4.add(lanes(1, 2, 3, 4), lanes(10, 20, 30, 40)))).toEqual([11, 22, 33, 44]);
    expect(ints(i32x4.shr_u(lanes(-1, 8, 16, 32), 3))).toEqual([0x1fffffff, 1, 2, 4]);
    expect(
      ints(i32x4.dot_i16x8_s(words(1, 2, 3, 4, 5, 6, 7, 8), words(1, 1, -1, -1, 2, 2, 0, 1))),
    ).toEqual([3, -7, 22, 8]);
    expect(floats(f32x4.convert_i32x4_s(lanes(1, -2, 3, 4)))).toEqual([1, -2, 3, 4]);
    expect(floats(f32x4.pmax(f32x4.splat(f32.const(2)), f32x4.splat(f32.const(5))))).toEqual([
      5, 5, 5, 5,
    ]);
    expect(ints(v128.bitselect(lanes(1, 1, 1, 1), lanes(2, 2, 2, 2), lanes(-1, 0, -1, 0)))).toEqual(
      [1, 2, 1, 2],
    );
  });

  test("scalars, select and memory copies", () => {
    const f = new FunctionBuilder("f", ["i32"], "f32");
    const flag = f.parameter(0, "i32");
    f.do(f32.store(i32.const(100), f32.const(1.5)));
    f.do(memoryInstructions.copy(i32.const(200), i32.const(100), i32.const(4)));
    f.give(select(f32.load(i32.const(0), 200), f32.const(-1), flag));
    const { exports } = instantiate([f]);
    expect(exports.f(1)).toBe(1.5);
    expect(exports.f(0)).toBe(-1);
  });
});
