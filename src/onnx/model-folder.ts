/**
 * External data as files beside the model: Node's part, kept out of everything that a browser loads.
 * Invariant: no file outside the model's folder is ever opened, neither by "..", nor by an absolute path, nor by a link.
 */
import { realpathSync } from "node:fs";
import { dirname, join, sep } from "node:path";
import { checkLocation, type OpenExternal, refusal } from "./external.ts";
import { fileSource } from "./file-source.ts";

/** Opens files in the folder of the model at `modelPath`. */
export function modelFolder(modelPath: string): OpenExternal {
  return (location, where) => {
    const refuse = refusal(modelPath, location, where);
    checkLocation(location, refuse);
    const folder = dirname(modelPath);
    const path = join(folder, location);
    let realPath: string;
    try {
      realPath = realpathSync(path);
    } catch {
      return refuse("there is no such file");
    }
    // Download caches link both the model and its data into one folder of blobs: that folder is the model's too.
    const folders = [realpathSync(folder), dirname(realpathSync(modelPath))];
    if (!folders.some((root) => realPath.startsWith(root.endsWith(sep) ? root : root + sep))) {
      refuse("a symbolic link leads outside the folder");
    }
    return fileSource(path);
  };
}
