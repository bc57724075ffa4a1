/**
 * A typed WebAssembly assembler: kernels are written as expressions over typed operands and come out as bytes.
 */
export type { Expression, F32, F64, I32, I64, Statement, V128, ValueType } from "./expression.ts";
export { FunctionBuilder, type Local, type Pointer } from "./function.ts";
export { assembleModule, type ModuleOptions } from "./module.ts";
export { f32, f64, i32, i64, memory, select } from "./scalar.ts";
export { f32x4, f64x2, i8x16, i16x8, i32x4, v128 } from "./simd.ts";
