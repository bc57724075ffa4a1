import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { findImageSize } from "../../../src/calibrate/data/image-size.ts";
import { temporaryFolder } from "./tokenizers.ts";

async function sizeBeside(files: Readonly<Record<string, unknown>>) {
  const folder = await temporaryFolder();
  for (const [name, value] of Object.entries(files)) {
    const text = typeof value === "string" ? value : JSON.stringify(value);
    await writeFile(join(folder, `${name}.json`), text);
  }
  return findImageSize(join(folder, "model.onnx"));
}

test("config.json decides, then what images are cropped to, then what they are scaled to", async () => {
  const preprocessor_config = { crop_size: { height: 224, width: 192 }, size: 256 };
  expect(await sizeBeside({ config: { image_size: 384 }, preprocessor_config })).toEqual([
    384, 384,
  ]);
  expect(await sizeBeside({ config: { image_size: [512, 1024] } })).toEqual([512, 1024]);
  expect(await sizeBeside({ config: {}, preprocessor_config })).toEqual([224, 192]);
  expect(await sizeBeside({ preprocessor_config: { size: 256 } })).toEqual([256, 256]);
});

test("nothing, half a size or no JSON says nothing", async () => {
  expect(await findImageSize(undefined)).toBeUndefined();
  expect(await sizeBeside({})).toBeUndefined();
  expect(
    await sizeBeside({ preprocessor_config: { size: { shortest_edge: 256 } } }),
  ).toBeUndefined();
  expect(await sizeBeside({ config: "image_size: 3" })).toBeUndefined();
  expect(await sizeBeside({ config: { image_size: "large" } })).toBeUndefined();
});
