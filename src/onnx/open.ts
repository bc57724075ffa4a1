/**
 * Opening a model from a file: Node's part, kept out of everything that a browser loads.
 */
import { ExternalFiles, noFolder } from "./external.ts";
import { fileSource } from "./file-source.ts";
import { openSource } from "./model.ts";
import { modelFolder } from "./model-folder.ts";
import { memorySource } from "./source.ts";
import type { Model } from "./types.ts";

/**
 * Opens a model without reading its weights.
 *
 * @param pathOrBytes - path of the .onnx file, or its bytes, which must not change afterwards.
 * @throws bad-model - not a readable, valid ONNX model; what and where is in the message.
 *
 * Cost: O(nodes + initializers) time and memory, whatever the size of the weights.
 */
export async function openModel(pathOrBytes: string | Uint8Array): Promise<Model> {
  if (typeof pathOrBytes !== "string") {
    return openSource(memorySource(pathOrBytes), new ExternalFiles(noFolder));
  }
  const external = new ExternalFiles(modelFolder(pathOrBytes));
  return openSource(fileSource(pathOrBytes), external, pathOrBytes);
}
