/** The file format in a real browser: the same models, counts and bytes as in Node. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { openModel, saveModel } from "../../src/onnx/index.ts";
import { openPage, skipNote } from "./chromium.ts";
import { factsOf } from "./onnx.page.ts";

type Environment = typeof import("./environment.page.ts");
type Onnx = typeof import("./onnx.page.ts");

const tinyLm = new URL("../../calibration/tiny-lm/model.onnx", import.meta.url);

describe.skipIf(skipNote !== "")(`in Chromium${skipNote}`, () => {
  test.each([true, false])(
    "a page that is isolated (%s) runs no text as code",
    async (isolated) => {
      const page = await openPage({ isolated });
      try {
        expect(await page.run<Environment>("environment", null)).toEqual({
          crossOriginIsolated: isolated,
          hasSharedMemory: isolated,
          hasNode: false,
          canEvaluate: false,
        });
      } finally {
        await page.close();
      }
    },
  );

  test("tiny-lm, inline and with external data, is read, edited, cut and written as in Node", async () => {
    const bytes = new Uint8Array(await readFile(tinyLm));
    const folder = await mkdtemp(join(tmpdir(), "bitloom-browser-"));
    const external = join(folder, "external.onnx");
    await saveModel(await openModel(bytes), external, { externalData: "always" });
    const [model, data] = await Promise.all([readFile(external), readFile(`${external}.data`)]);
    await rm(folder, { recursive: true });

    const page = await openPage({ files: { "/files/m.onnx": model, "/files/m.data": data } });
    try {
      const inline = { model: "/calibration/tiny-lm/model.onnx", externalData: {} };
      const facts = await page.run<Onnx>("onnx", inline);
      expect(facts.nodes).toBeGreaterThan(100);
      expect(facts).toEqual(await factsOf(bytes, {}));

      const externalData = { "external.onnx.data": "/files/m.data" };
      const apart = await page.run<Onnx>("onnx", { model: "/files/m.onnx", externalData });
      expect(apart).toEqual(await factsOf(model, { "external.onnx.data": data }));
      expect(apart.initializers).toBe(facts.initializers);

      const lacking = page.run<Onnx>("onnx", { model: "/files/m.onnx", externalData: {} });
      await expect(lacking).rejects.toThrow(/externalData\["external\.onnx\.data"\]/);
    } finally {
      await page.close();
    }
  });
});
