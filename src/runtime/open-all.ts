/**
 * Opens several sessions at once: all of them, or none.
 */
import type { Model } from "../onnx/index.ts";
import type { Runtime, Session, SessionOptions } from "./runtime.ts";

export interface WantedSession extends Pick<SessionOptions, "threads"> {
  readonly model: Model;
  readonly worker: number;
}

/** When one cannot be opened, those that could are released before its error is thrown. */
export async function openAll(
  runtime: Runtime,
  wanted: readonly WantedSession[],
): Promise<Session[]> {
  const results = await Promise.allSettled(
    wanted.map(({ model, ...options }) => runtime.open(model, options)),
  );
  const opened = results.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
  const failed = results.find((result) => result.status === "rejected");
  if (!failed) return opened;
  await Promise.allSettled(opened.map((session) => session.release()));
  throw failed.reason;
}
