/**
 * One function: parameters, locals, structured control flow. Statements append to it in order.
 */
import {
  type Code,
  type Expression,
  expression,
  type I32,
  type Statement,
  unsigned,
  type ValueType,
} from "./expression.ts";
import { operand } from "./instruction.ts";
import { i32 } from "./scalar.ts";

export const valueTypeBytes: Readonly<Record<ValueType, number>> = {
  i32: 0x7f,
  i64: 0x7e,
  f32: 0x7d,
  f64: 0x7c,
  v128: 0x7b,
};

/** A variable: reading it is an expression, `set` appends an assignment. */
export interface Local<T extends ValueType> extends Expression<T> {
  set(value: Expression<T>): void;
  /** Assigns and gives the value. */
  tee(value: Expression<T>): Expression<T>;
}

export type Pointer = Local<"i32">;

export class FunctionBuilder {
  readonly name: string;
  readonly parameterTypes: readonly ValueType[];
  readonly result: ValueType | undefined;
  readonly #locals: ValueType[] = [];
  #code: Code[] = [];

  constructor(name: string, parameterTypes: readonly ValueType[], result?: ValueType) {
    this.name = name;
    this.parameterTypes = parameterTypes;
    this.result = result;
  }

  parameter<T extends ValueType>(index: number, type: T): Local<T> {
    if (this.parameterTypes[index] !== type)
      throw new TypeError(`parameter ${index} is no ${type}`);
    return this.#variable(index, type);
  }

  /** A new variable; starts at `initial`, or at 0. */
  local<T extends ValueType>(type: T, initial?: Expression<T>): Local<T> {
    this.#locals.push(type);
    const local = this.#variable(this.parameterTypes.length + this.#locals.length - 1, type);
    if (initial) local.set(initial);
    return local;
  }

  locals<T extends ValueType>(count: number, type: T): Local<T>[] {
    return Array.from({ length: count }, () => this.local(type));
  }

  /** Appends a statement: a store, a copy, a call without result. */
  do(statement: Statement): void {
    this.#code.push(...statement.code);
  }

  /** variable += bytes. */
  advance(pointer: Local<"i32">, step: I32 | number): void {
    pointer.set(i32.add(pointer, typeof step === "number" ? i32.const(step) : step));
  }

  /** Runs the body `count` times, at least once; `counter` counts down to 1. */
  repeat(count: I32 | number, body: (counter: Local<"i32">) => void): void {
    const counter = this.local("i32", typeof count === "number" ? i32.const(count) : count);
    this.#block(0x03, () => {
      body(counter);
      this.#code.push(...counter.tee(i32.sub(counter, i32.const(1))).code, 0x0d, 0);
    });
  }

  /** Runs the body while `variable < limit` (signed), adding `step` after each turn. */
  for(
    variable: Local<"i32">,
    limit: I32,
    step: number | I32,
    body: (variable: Local<"i32">) => void,
  ): void {
    this.while(i32.lt_s(variable, limit), () => {
      body(variable);
      this.advance(variable, step);
    });
  }

  while(condition: I32, body: () => void): void {
    // The test stands at both ends, so that a turn of the loop takes one branch.
    this.if(condition, () => {
      this.#block(0x03, () => {
        body();
        this.#code.push(...condition.code, 0x0d, 0);
      });
    });
  }

  if(condition: I32, then: () => void, otherwise?: () => void): void {
    this.#code.push(...operand(condition, "i32"));
    this.#block(0x04, () => {
      then();
      if (otherwise) {
        this.#code.push(0x05);
        otherwise();
      }
    });
  }

  /** The call of another function of the same module. */
  call<T extends ValueType>(
    callee: FunctionBuilder & { readonly result: T },
    ...operands: readonly Expression<ValueType>[]
  ): Expression<T> {
    return expression(callee.result, ...callCode(callee, operands));
  }

  /** Appends the call of a function without result. */
  run(callee: FunctionBuilder, ...operands: readonly Expression<ValueType>[]): void {
    this.do(expression("void", ...callCode(callee, operands)));
  }

  return(value?: Expression<ValueType>): void {
    this.#code.push(...(value?.code ?? []), 0x0f);
  }

  /** Leaves `value` as the function's result; must be the last statement. */
  give(value: Expression<ValueType>): void {
    this.#code.push(...value.code);
  }

  /** The functions that this one calls. */
  get callees(): ReadonlySet<FunctionBuilder> {
    return new Set(this.#code.flatMap((item) => (typeof item === "number" ? [] : [item.call])));
  }

  /** The body as the code section holds it, without its length. */
  encode(indexOf: (callee: FunctionBuilder) => number): number[] {
    const locals = this.#locals.flatMap((type) => [1, valueTypeBytes[type]]);
    const code = this.#code.flatMap((item) =>
      typeof item === "number" ? item : unsigned(indexOf(item.call)),
    );
    return [...unsigned(this.#locals.length), ...locals, ...code, 0x0b];
  }

  #variable<T extends ValueType>(index: number, type: T): Local<T> {
    const get = [0x20, ...unsigned(index)];
    return {
      ...expression(type, get),
      set: (value) => {
        this.#code.push(...operand(value, type), 0x21, ...unsigned(index));
      },
      tee: (value) => expression(type, operand(value, type), 0x22, unsigned(index)),
    };
  }

  #block(opcode: number, body: () => void): void {
    this.#code.push(opcode, 0x40);
    body();
    this.#code.push(0x0b);
  }
}

function callCode(
  callee: FunctionBuilder,
  operands: readonly Expression<ValueType>[],
): (Code | readonly Code[])[] {
  if (operands.length !== callee.parameterTypes.length) {
    throw new TypeError(`${callee.name} takes ${callee.parameterTypes.length} operands`);
  }
  const code = operands.map((value, index) => operand(value, callee.parameterTypes[index]));
  return [...code, 0x10, { call: callee }];
}
