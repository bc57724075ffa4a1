/**
 * Products with matrices of 2 to 8 bits.
 */
export type { ActivationType } from "./arithmetic.ts";
export { type LowBits, lowBits, type MatrixShape, supportsBlockSize } from "./layout.ts";
export {
  activationBytes,
  type KernelCall,
  type LowBitMatrix,
  lowBitKernels,
  lowBitMatrix,
  type ProductAddresses,
  quantizeActivations,
} from "./matrix.ts";
export type { LowBitWeights } from "./pack.ts";
export { readCodes } from "./streams.ts";
