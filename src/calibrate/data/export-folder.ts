/** Where the files that belong to a model lie: tokenizer, config, preprocessor. */
import { basename, dirname, join, resolve } from "node:path";

/** The folder of a file, and the one above a folder called "onnx", where repositories of exports put their models. */
export function exportFolders(file: string): string[] {
  const folder = dirname(file);
  return basename(resolve(folder)) === "onnx" ? [folder, join(folder, "..")] : [folder];
}
