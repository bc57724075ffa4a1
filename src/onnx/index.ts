/**
 * ONNX files: open, look, edit, cut, save. Lossless: what nobody edits is copied byte for byte.
 */
export { attribute } from "./attribute.ts";
export { storedConstant } from "./constant.ts";
export { editModel } from "./editor.ts";
export { encodeModel } from "./encode-model.ts";
export { extractSubgraph, type SubgraphEnds } from "./extract.ts";
export { filesOf } from "./files.ts";
export { type CreateModelOptions, createModel, openModel } from "./model.ts";
export { PendingFiles } from "./pending-files.ts";
export { type SavedFiles, type SaveOptions, saveModel } from "./save.ts";
export { createTap, type GraphTap } from "./tap.ts";
export { lazyTensor, memoryTensor, readInts } from "./tensor-source.ts";
export type * from "./types.ts";
