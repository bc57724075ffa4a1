/**
 * Progress of long benchmarks on stderr: what is done, what is being done, how long the rest will take. A line that is
 * rewritten on a terminal, a line per step elsewhere.
 */

export interface Progress {
  /** Announces steps of a kind; steps of one kind are taken to last equally long. */
  expect(kind: string, steps: number): void;
  /** One step is done. */
  done(kind: string, label: string, elapsedMs: number): void;
  /** A line of its own. */
  note(message: string): void;
}

export interface ProgressOutput {
  readonly isTTY?: boolean | undefined;
  write(text: string): unknown;
}

export function createProgress(output: ProgressOutput = process.stderr): Progress {
  const kinds = new Map<string, { expected: number; done: number; elapsedMs: number }>();
  const of = (kind: string) => {
    const known = kinds.get(kind) ?? { expected: 0, done: 0, elapsedMs: 0 };
    kinds.set(kind, known);
    return known;
  };
  const clear = output.isTTY ? "\r\u001b[K" : "";
  return {
    expect(kind, steps) {
      of(kind).expected += steps;
    },
    done(kind, label, elapsedMs) {
      const own = of(kind);
      own.done++;
      own.elapsedMs += elapsedMs;
      const all = [...kinds.values()];
      const steps = (key: "expected" | "done") => all.reduce((sum, one) => sum + one[key], 0);
      const line = `[${steps("done")}/${steps("expected")}] ${label}  ${(elapsedMs / 1000).toFixed(1)} s${remaining(all)}`;
      output.write(`${clear}${line}${output.isTTY ? "" : "\n"}`);
    },
    note(message) {
      output.write(`${clear}${message}\n`);
    },
  };
}

/** Kinds that have not begun are taken to last as long as the average step. */
function remaining(
  kinds: readonly { expected: number; done: number; elapsedMs: number }[],
): string {
  const total = kinds.reduce((sum, { elapsedMs }) => sum + elapsedMs, 0);
  const steps = kinds.reduce((sum, { done }) => sum + done, 0);
  if (steps === 0) return "";
  const ms = kinds.reduce((sum, { expected, done, elapsedMs }) => {
    const each = done > 0 ? elapsedMs / done : total / steps;
    return sum + Math.max(0, expected - done) * each;
  }, 0);
  return ms === 0 ? "" : `, ${duration(ms)} left`;
}

export function duration(ms: number): string {
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
