/**
 * ONNX files: open, look, edit, cut, save. Lossless: what nobody edits is copied byte for byte.
 * What needs no files is listed in `portable.ts`, for browsers.
 */
export { filesOf } from "./files.ts";
export { openModel } from "./open.ts";
export { PendingFiles } from "./pending-files.ts";
export * from "./portable.ts";
export { type SavedFiles, type SaveOptions, saveModel } from "./save.ts";
