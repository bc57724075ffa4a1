/**
 * ONNX models without files: what runs in a browser as it does in Node. `index.ts` adds files.
 * Invariant: nothing here imports a package or a module of Node, directly or through others.
 */
export { attribute } from "./attribute.ts";
export { storedConstant } from "./constant.ts";
export { editModel } from "./editor.ts";
export { encodeModel } from "./encode-model.ts";
export { extractSubgraph, partInput, type SubgraphEnds } from "./extract.ts";
export { findLogits, gatheredRows } from "./language.ts";
export { type CreateModelOptions, createModel } from "./model.ts";
export { type OpenBytesOptions, openModelBytes } from "./open-bytes.ts";
export { constantValues, readBy } from "./reads.ts";
export { createTap, type GraphTap } from "./tap.ts";
export { lazyTensor, memoryTensor, readInts } from "./tensor-source.ts";
export type * from "./types.ts";
