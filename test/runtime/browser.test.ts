/** The browser's entry where no browser is needed: downloads that fail. */
import { afterEach, expect, test, vi } from "vitest";
import { createSession } from "../../src/runtime/browser.ts";

afterEach(() => vi.unstubAllGlobals());

test.each([
  ["an answer without a file", () => new Response("", { status: 404 }), /the server answered 404/],
  [
    "no answer",
    () => {
      throw new TypeError("Failed to fetch");
    },
    /Failed to fetch/,
  ],
])("%s is bad-model", async (_, fetch: () => Response, message) => {
  vi.stubGlobal("fetch", async () => fetch());
  const url = "https://example.org/model.onnx";
  await expect(createSession(url)).rejects.toMatchObject({
    code: "bad-model",
    message: expect.stringMatching(message),
    detail: { file: url },
  });
});
