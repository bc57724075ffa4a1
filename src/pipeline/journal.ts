/**
 * Passes events on, keeps the notices and the time of each stage for the report.
 */
import { BitloomError, throwIfAborted } from "../core/errors.ts";
import type { Event, Notice } from "../core/events.ts";

export interface Journal {
  readonly notices: readonly Notice[];
  /** Milliseconds per stage. */
  readonly timings: Readonly<Record<string, number>>;
  emit(event: Event): void;
  notify(notice: Notice): void;
  /** Runs a stage: announces it, measures it. Throws `aborted` instead when the signal has fired. */
  stage<T>(name: string, work: () => Promise<T>): Promise<T>;
}

export function createJournal(options: {
  readonly onEvent?: ((event: Event) => void) | undefined;
  readonly strict?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}): Journal {
  const notices: Notice[] = [];
  const timings: Record<string, number> = {};
  const seen = new Set<string>();
  const emit = (event: Event) => {
    if (event.type === "notice") {
      // The same fact may come up again for every plan that is tried.
      const key = JSON.stringify(event.notice);
      if (seen.has(key)) return;
      seen.add(key);
      notices.push(event.notice);
      if (options.strict) {
        throw new BitloomError("bad-option", `Stopped by --strict: ${event.notice.message}`, {
          option: "strict",
          got: event.notice.code,
        });
      }
    }
    options.onEvent?.(event);
  };
  return {
    notices,
    timings,
    emit,
    notify: (notice) => emit({ type: "notice", notice }),
    async stage(name, work) {
      throwIfAborted(options.signal, `"${name}"`);
      emit({ type: "stage", stage: name });
      const start = performance.now();
      try {
        return await work();
      } finally {
        timings[name] = Math.round((timings[name] ?? 0) + performance.now() - start);
      }
    },
  };
}
