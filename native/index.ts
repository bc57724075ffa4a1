/**
 * The kernels and what the runtime needs to use them.
 */
export {
  assembleKernels,
  type Fields,
  type FieldValues,
  type Isa,
  type Kernel,
  type KernelFunction,
  taskBytes,
  writeTask,
} from "./kernel.ts";
