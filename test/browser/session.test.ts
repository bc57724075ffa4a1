/** The kernels in a real browser: the numbers of Node, with and without threads. */
import { describe, expect, test } from "vitest";
import { encodeModel, openModel } from "../../src/onnx/index.ts";
import { createSession } from "../../src/runtime/create-session.ts";
import { quantizedTransformer } from "../support/transformers/index.ts";
import { openPage, skipNote } from "./chromium.ts";
import { factsOf } from "./session.page.ts";

type SessionPage = typeof import("./session.page.ts");

const tinyLm = new URL("../../calibration/tiny-lm/model.onnx", import.meta.url);
const ids = Array.from({ length: 40 }, (_, i) => (i * 37 + 11) % 1000);

describe.skipIf(skipNote !== "")(`in Chromium${skipNote}`, () => {
  test.each([
    { isolated: true, threads: 2, notices: [] },
    { isolated: false, threads: 2, notices: ["one-thread"] },
  ])(
    "tiny-lm at mixed widths gives Node's numbers: $isolated, $threads threads",
    async ({ isolated, threads, notices }) => {
      const formats = [
        "int2-b32",
        "int3-b32",
        "int4-b32-asym",
        "int5-b64",
        "int6-b32",
        "int8-b128",
      ];
      const float = await openModel(tinyLm.pathname);
      const { model } = await quantizedTransformer(float, { formats });
      const bytes = await encodeModel(model);
      const page = await openPage({ isolated, files: { "/files/model.onnx": bytes } });
      try {
        const input = { model: "/files/model.onnx", threads, precision: "exact", ids } as const;
        const got = await page.run<SessionPage>("session", input);
        const session = await createSession(bytes, { precision: "exact", threads: 1 });
        const { logits } = await session.run({
          input_ids: {
            type: "int64",
            dims: [1, ids.length],
            data: BigInt64Array.from(ids, BigInt),
          },
        });
        await session.release();
        expect(got).toEqual({ ...factsOf(logits), notices });
      } finally {
        await page.close();
      }
    },
  );
});
