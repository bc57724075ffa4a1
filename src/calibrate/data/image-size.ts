/**
 * The size of the images that a model was made for, from the files that Hugging Face exports have beside it. Exported
 * graphs leave height and width open even where the position table fits one size only.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { exportFolders } from "./export-folder.ts";

export type ImageSize = readonly [height: number, width: number];

type Json = Readonly<Record<string, unknown>>;

/**
 * `image_size` of config.json, else `crop_size` or `size` of preprocessor_config.json: a number, a pair, or height and
 * width. Undefined when no file says it; files that cannot be read say nothing.
 *
 * @param modelPath - where the model was opened.
 */
export async function findImageSize(modelPath: string | undefined): Promise<ImageSize | undefined> {
  if (modelPath === undefined) return undefined;
  for (const folder of exportFolders(modelPath)) {
    const [config, preprocessor] = await Promise.all(
      ["config.json", "preprocessor_config.json"].map((name) => readJson(join(folder, name))),
    );
    const found = [config.image_size, preprocessor.crop_size, preprocessor.size].map(sizeOf);
    const size = found.find((one) => one !== undefined);
    if (size) return size;
  }
  return undefined;
}

function sizeOf(value: unknown): ImageSize | undefined {
  const { height, width } = (value ?? {}) as Json;
  const [first, second] = Array.isArray(value) ? value : [height ?? value, width ?? value];
  return isSide(first) && isSide(second) ? [first, second] : undefined;
}

const isSide = (side: unknown): side is number => Number.isInteger(side) && (side as number) > 0;

async function readJson(path: string): Promise<Json> {
  try {
    const value: unknown = JSON.parse(await readFile(path, "utf8"));
    return typeof value === "object" && value !== null ? (value as Json) : {};
  } catch {
    return {};
  }
}
