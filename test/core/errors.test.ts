import { describe, expect, test } from "vitest";
import { BitloomError, invariant, isBitloomError, throwIfAborted } from "../../src/core/errors.ts";

describe("BitloomError", () => {
  test("carries code, detail and cause, and the guard tells codes apart", () => {
    const cause = new Error("inner");
    const detail = { layer: "q", step: "fit-grids" };
    const error: unknown = new BitloomError("numeric", "what failed", detail, { cause });
    expect(error).toBeInstanceOf(Error);
    expect(error).toMatchObject({ name: "BitloomError", code: "numeric", detail, cause });
    expect(isBitloomError(error)).toBe(true);
    expect(isBitloomError(error, "numeric")).toBe(true);
    expect(isBitloomError(error, "aborted")).toBe(false);
    expect(isBitloomError(cause)).toBe(false);
  });
});

test("invariant blames the library", () => {
  expect(() => invariant(false, "rows lost")).toThrow("bug in bitloom: rows lost");
  expect(() => invariant(true, "fine")).not.toThrow();
});

test("throwIfAborted throws `aborted` once the signal has fired", () => {
  const controller = new AbortController();
  expect(() => throwIfAborted(controller.signal, "score")).not.toThrow();
  expect(() => throwIfAborted(undefined, "score")).not.toThrow();
  controller.abort();
  try {
    throwIfAborted(controller.signal, "score");
    expect.unreachable();
  } catch (error) {
    expect(isBitloomError(error, "aborted")).toBe(true);
  }
});
