/**
 * How the caller and its threads meet in shared memory: the words of the control block and what a thread does with
 * them. Pure: nothing of Node or of a browser, and plain JavaScript, because threads load it from sources and build.
 *
 * A job is cut into chunks. `next` counts the chunks nobody has claimed, downwards; a claim is one atomic subtraction
 * that finds it positive. `pending` counts the chunks that are not done.
 *
 * Invariant: `next` is positive only while the job's fields are complete, and a job is not replaced before `pending` is
 * 0. So whoever claims first and reads the fields then reads those of the job that it claimed from, however late it
 * comes: between jobs `next` is at most 0 and there is nothing to claim.
 */

/** Where each word is. Words that different threads write are on cache lines of their own (16 words). */
export const words = Object.freeze({
  next: 0,
  pending: 16,
  /** 1 while the caller sleeps until `pending` is 0. */
  joining: 32,
  /** The job. */
  kernel: 48,
  task: 49,
  items: 50,
  chunk: 51,
  chunks: 52,
  /** 1 + the number of the first thread whose kernel threw in this job, or 0; its message follows. */
  failed: 64,
  messageLength: 65,
  message: 66,
  /** State of thread 1; those of the others follow, each on its line. */
  states: 144,
  /** All words. */
  count: 1024,
});

/** Threads that a control block has room for, the caller included. */
export const maximumThreads = 1 + (words.count - words.states) / 16;

/** UTF-16 units of a message. */
const messageUnits = 2 * (words.states - words.message);

/** A thread that is `busy` may hold a chunk; the others hold none. */
export const states = Object.freeze({ spinning: 0, busy: 1, asleep: 2 });

/**
 * How long threads and caller look for a change before they sleep: about as long as waking takes (25 to 45 µs), so that
 * spinning at most doubles the cost of a wait, and longer than most steps between two matrix products. Not longer,
 * because another process may leave both only one processor, and then each spins while the other could work: jobs of
 * twice 300 µs took 660 µs with 50 µs of spinning, 710 with 100, 810 with 200; and up to 5 ms where the caller spun 20.
 */
const spinMs = 0.05;

/** @type {{ readonly pause?: () => void }} */
const engine = /** @type {object} */ (Atomics);
/** Tells the processor that this is a spin, where the engine offers it. */
const pause = engine.pause ?? (() => {});

/**
 * The control block.
 *
 * @param {WebAssembly.Memory} memory
 * @param {number} address - a multiple of 64
 */
export const controlOf = (memory, address) => new Int32Array(memory.buffer, address, words.count);

/**
 * @param {number} thread - 1 or more
 */
export const stateWord = (thread) => words.states + 16 * (thread - 1);

/**
 * Spins for a bounded time until a word passes the test.
 *
 * @param {Int32Array} control
 * @param {number} word
 * @param {(value: number) => boolean} isWanted
 */
export function spin(control, word, isWanted) {
  if (isWanted(Atomics.load(control, word))) return true;
  const end = performance.now() + spinMs;
  do {
    // A clock costs as much as twenty looks at the word.
    for (let turn = 0; turn < 32; turn++) {
      if (isWanted(Atomics.load(control, word))) return true;
      pause();
    }
  } while (performance.now() < end);
  return false;
}

/**
 * Claims a chunk of whatever job there is.
 *
 * @param {Int32Array} control
 * @returns {number} how many chunks were left with this one, or 0 if there was none.
 */
export function claim(control) {
  // Only looking, where there is nothing to claim, keeps the count from running away.
  if (Atomics.load(control, words.next) <= 0) return 0;
  return Math.max(0, Atomics.sub(control, words.next, 1));
}

/**
 * Does a claimed chunk.
 *
 * @param {Int32Array} control
 * @param {number} left - what `claim` gave
 * @param {readonly import("../../../native/index.ts").KernelFunction[]} functions
 * @param {number} scratch
 */
export function perform(control, left, functions, scratch) {
  const chunk = control[words.chunk];
  const begin = (control[words.chunks] - left) * chunk;
  const end = Math.min(begin + chunk, control[words.items]);
  functions[control[words.kernel]](control[words.task], begin, end, scratch);
}

/**
 * Takes back the chunks that nobody has claimed.
 *
 * @param {Int32Array} control
 */
export function cancel(control) {
  const left = Atomics.exchange(control, words.next, 0);
  if (left > 0) Atomics.sub(control, words.pending, left);
}

/**
 * Notes that a kernel threw. Only the first note of a job is kept.
 *
 * @param {Int32Array} control
 * @param {number} thread
 * @param {unknown} error
 */
export function fail(control, thread, error) {
  if (Atomics.compareExchange(control, words.failed, 0, thread + 1) !== 0) return;
  const text = error instanceof Error ? error.message : String(error);
  const message = messageOf(control);
  const length = Math.min(text.length, message.length);
  for (let unit = 0; unit < length; unit++) message[unit] = text.charCodeAt(unit);
  control[words.messageLength] = length;
}

/**
 * The message of the kernel that threw.
 *
 * @param {Int32Array} control
 */
export const failure = (control) =>
  String.fromCharCode(...messageOf(control).subarray(0, control[words.messageLength]));

/** @param {Int32Array} control */
const messageOf = (control) =>
  new Uint16Array(control.buffer, control.byteOffset + 4 * words.message, messageUnits);

/**
 * What the caller sends to a thread.
 *
 * @typedef {object} ThreadStart
 * @property {WebAssembly.Memory} memory
 * @property {WebAssembly.Module} module
 * @property {readonly string[]} names - of the kernels, in the order that jobs count them
 * @property {number} control - address of the control block
 * @property {number} thread - its number, 1 or more
 * @property {number} scratch - address of its own scratch memory
 */

/**
 * The life of a thread: instantiates the kernels, tells that it is ready, then works until it is terminated from
 * outside. It sleeps when there is nothing to do and never turns its event loop again.
 *
 * @param {ThreadStart} start
 * @param {() => void} onReady
 * @returns {never}
 */
export function serve({ memory, module, names, control: address, thread, scratch }, onReady) {
  const { exports } = new WebAssembly.Instance(module, { env: { memory } });
  const functions = names.map(
    (name) => /** @type {import("../../../native/index.ts").KernelFunction} */ (exports[name]),
  );
  onReady();
  return work(controlOf(memory, address), thread, functions, scratch);
}

/**
 * @param {Int32Array} control
 * @param {number} thread
 * @param {readonly import("../../../native/index.ts").KernelFunction[]} functions
 * @param {number} scratch
 * @returns {never}
 */
export function work(control, thread, functions, scratch) {
  const state = stateWord(thread);
  /** @param {number} next */
  const isWork = (next) => next > 0;
  for (;;) {
    if (!spin(control, words.next, isWork)) {
      // The caller stores `next`, then looks for sleepers; here it is the other way round, so that one sees the other.
      Atomics.store(control, state, states.asleep);
      const next = Atomics.load(control, words.next);
      if (next <= 0) Atomics.wait(control, words.next, next);
    }
    // Before the claim, so that whoever dies with a chunk in hand is known to be busy.
    Atomics.store(control, state, states.busy);
    for (let left = claim(control); left > 0; left = claim(control)) {
      try {
        perform(control, left, functions, scratch);
      } catch (error) {
        fail(control, thread, error);
        cancel(control);
      }
      const isLast = Atomics.sub(control, words.pending, 1) === 1;
      if (isLast && Atomics.load(control, words.joining) === 1) {
        Atomics.notify(control, words.pending);
      }
    }
    Atomics.store(control, state, states.spinning);
  }
}
