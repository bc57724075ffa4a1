/**
 * Products, low-bit lookups, convolutions and pools.
 */
import type { Operator } from "../../session/operator.ts";
import { convOperator, convTransposeOperator } from "./conv.ts";
import { gemmOperator } from "./gemm.ts";
import { lowBitGatherOperator } from "./low-bit-gather.ts";
import { lowBitMatMulOperator } from "./low-bit-matmul.ts";
import { refusedLowBit } from "./low-bit-readers.ts";
import { matMul } from "./matmul.ts";
import {
  averagePoolOperator,
  globalAveragePoolOperator,
  globalMaxPoolOperator,
  maxPoolOperator,
} from "./pool.ts";
import { quantizeActivationOperator } from "./quantize-activation.ts";
import { unpackedOperator } from "./unpacked.ts";

export const matrixOperators: Readonly<Record<string, Operator>> = {
  AveragePool: averagePoolOperator,
  Conv: convOperator,
  ConvTranspose: convTransposeOperator,
  Gemm: gemmOperator,
  GlobalAveragePool: globalAveragePoolOperator,
  GlobalMaxPool: globalMaxPoolOperator,
  MatMul: matMul,
  MaxPool: maxPoolOperator,
  // fusion/low-bit-nodes.ts makes internal nodes of them and of the functions bitloom::…Packed…; these are the rest.
  "com.microsoft::GatherBlockQuantized": refusedLowBit,
  "com.microsoft::MatMulNBits": refusedLowBit,
  "com.microsoft::FusedMatMul": matMul,
  "bitloom::Unpacked": unpackedOperator,
  "bitloom.internal::BiasedMatMul": matMul,
  "bitloom.internal::LowBitGather": lowBitGatherOperator,
  "bitloom.internal::LowBitMatMul": lowBitMatMulOperator,
  "bitloom.internal::QuantizeActivation": quantizeActivationOperator,
};
