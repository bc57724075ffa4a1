/**
 * Turns of the event loop in the middle of long work, so that timers, signals and progress stay alive.
 */
import { yieldToEventLoop } from "../core/events.ts";

/** Work may block this long. */
const blockedMs = 25;

/**
 * A function to await between pieces of work: it lets the event loop turn when that is due.
 * Views of the kernels' memory do not outlive it: another call may have made the memory grow.
 */
export function eventLoopTurns(): () => Promise<void> {
  let last = performance.now();
  return async () => {
    if (performance.now() - last < blockedMs) return;
    await yieldToEventLoop();
    last = performance.now();
  };
}
