/**
 * Opening a model whose bytes are in memory already, in Node or in a browser.
 */
import { ExternalFiles, filesInMemory } from "./external.ts";
import { openSource } from "./model.ts";
import { memorySource } from "./source.ts";
import type { Model } from "./types.ts";

export interface OpenBytesOptions {
  /**
   * The external data files that the model refers to: their bytes, by `location` as the model writes it, for example
   * "model.onnx.data". Like the model's own bytes, they are not copied.
   */
  readonly externalData?: Readonly<Record<string, Uint8Array>>;
  /** What messages call the model, for example its URL; default "(in memory)". */
  readonly label?: string;
}

/**
 * Opens a model from its bytes without decoding its weights.
 *
 * @param bytes - of the .onnx file; they must not change afterwards, nor lie in shared memory, from which browsers
 *   decode no text.
 * @throws bad-model - not a readable, valid ONNX model, or external data that `externalData` lacks; what and where is in
 *   the message.
 *
 * Cost: O(nodes + initializers) time and memory, whatever the size of the weights.
 */
export async function openModelBytes(
  bytes: Uint8Array,
  options: OpenBytesOptions = {},
): Promise<Model> {
  const { externalData = {}, label = "(in memory)" } = options;
  const external = new ExternalFiles(filesInMemory(label, externalData));
  return openSource(memorySource(bytes, label), external);
}
