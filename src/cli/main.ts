#!/usr/bin/env node
/**
 * The `quantize` command: picks the verb, runs it, turns its outcome into output and an exit code.
 * Invariant: standard output carries the result and nothing else; with --json exactly one document.
 */
import { type ErrorCode, isBitloomError, version } from "../index.ts";
import { type CommandDefinition, helpText, type Outcome, parseArguments } from "./command.ts";
import { verbs, wholeCommand } from "./commands/index.ts";
import { createProgress } from "./progress.ts";
import { createStyle } from "./style.ts";
import { wrap } from "./table.ts";

const exitCodes = { done: 0, failed: 1, usage: 2, qualityMissed: 3, interrupted: 130 } as const;

const streams = { out: process.stdout, err: process.stderr };
const style = createStyle(streams.out, process.env);
const errorStyle = createStyle(streams.err, process.env);

interface Failure {
  readonly code: ErrorCode | "usage" | "internal";
  readonly message: string;
  readonly detail: object;
}

process.exitCode = await main(process.argv.slice(2));

async function main(argv: readonly string[]): Promise<number> {
  // A reader that stops early (`| head`) is no failure.
  streams.out.on("error", (error: NodeJS.ErrnoException) => {
    process.exit(error.code === "EPIPE" ? exitCodes.done : exitCodes.failed);
  });
  const verb = verbs.find(({ name }) => name === argv[0]);
  const command = verb ?? wholeCommand;
  const rest = verb ? argv.slice(1) : argv;
  const json = rest.includes("--json");
  const fail = (failure: Failure) => {
    report(failure, command, json);
    return exitCodeOf(failure.code);
  };
  if (argv[0] === "--version" || argv[0] === "-V") {
    streams.out.write(`${version}\n`);
    return exitCodes.done;
  }
  if (argv.length === 0) {
    streams.err.write(helpText(command));
    return exitCodes.usage;
  }
  try {
    const parsed = parseArguments(command, rest);
    if (parsed.kind === "help") {
      streams.out.write(parsed.text);
      return exitCodes.done;
    }
    if (parsed.kind === "usage") {
      return fail({ code: "usage", message: parsed.message, detail: {} });
    }
    const outcome = await runWithProgress(command, parsed.args, parsed.values);
    const { document } = outcome;
    await print(json ? JSON.stringify(document, null, 2) : outcome.text(style));
    const { quiet = false } = parsed.values as { readonly quiet?: boolean };
    if (outcome.summary && !json && !quiet) {
      streams.err.write(`${outcome.summary(errorStyle)}\n`);
    }
    return exitCodes.done;
  } catch (error) {
    return fail(describeFailure(error));
  }
}

async function runWithProgress(
  command: CommandDefinition,
  args: readonly string[],
  values: { readonly quiet?: boolean; readonly json?: boolean },
): Promise<Outcome> {
  const { quiet = false, json = false } = values;
  const progress = createProgress({
    stream: streams.err,
    style: errorStyle,
    quiet,
    printNotices: json || command.streams === true || !(streams.out.isTTY && streams.err.isTTY),
  });
  const interrupts = abortOnInterrupt(() => progress.end(true));
  let failed = true;
  let isLineOpen = false;
  try {
    const { signal } = interrupts;
    const outcome = await command.run(args, values as never, {
      signal,
      onEvent: progress.onEvent,
      print(text) {
        if (json) return;
        progress.clear();
        streams.out.write(text);
        isLineOpen = !text.endsWith("\n");
      },
    });
    failed = false;
    return outcome;
  } finally {
    interrupts.stop();
    progress.end(failed);
    if (failed && isLineOpen) streams.out.write("\n");
  }
}

/** The first Ctrl-C stops the work cleanly, the second one ends the process at once. */
function abortOnInterrupt(cleanUp: () => void): { signal: AbortSignal; stop(): void } {
  const controller = new AbortController();
  const names = ["SIGINT", "SIGTERM"] as const;
  const stop = () => {
    for (const name of names) process.off(name, interrupt);
  };
  function interrupt(name: NodeJS.Signals): void {
    if (!controller.signal.aborted) {
      controller.abort();
      return;
    }
    cleanUp();
    stop();
    // By the signal itself: process.exit would wait for worker threads that are busy in native code.
    process.kill(process.pid, name);
  }
  for (const name of names) process.on(name, interrupt);
  return { signal: controller.signal, stop };
}

function describeFailure(error: unknown): Failure {
  if (isBitloomError(error)) {
    const { code, message, detail } = error;
    return { code, message, detail };
  }
  // The stack is what a bug report needs; nothing else makes use of it.
  const { message, stack = "" } = error instanceof Error ? error : new Error(String(error));
  return {
    code: "internal",
    message: `${message.replace(/^bug in bitloom: /, "")}. This is a bug in bitloom ${version}; please report it with the command and these lines.`,
    detail: {
      stack: stack
        .split("\n")
        .slice(1, 6)
        .map((line) => line.trim()),
    },
  };
}

function exitCodeOf(code: Failure["code"]): number {
  if (code === "usage" || code === "bad-option") return exitCodes.usage;
  if (code === "quality-missed") return exitCodes.qualityMissed;
  return code === "aborted" ? exitCodes.interrupted : exitCodes.failed;
}

function report(failure: Failure, { name }: CommandDefinition, json: boolean): void {
  const command = name === "" ? "quantize" : name;
  if (json) {
    const { code, message, detail } = failure;
    const error = { code: code === "usage" ? "bad-option" : code, message, detail };
    streams.out.write(`${JSON.stringify({ version: 1, command, error }, null, 2)}\n`);
    return;
  }
  const columns = Math.min(streams.err.isTTY ? errorStyle.columns : 1000, 100) - 7;
  const text = wrap(failure.message, streams.err.isTTY ? columns : 1e6).join("\n       ");
  streams.err.write(`${errorStyle.bad("error:")} ${text}\n`);
  if (failure.code === "usage") {
    streams.err.write(`See quantize ${name === "" ? "" : `${name} `}--help.\n`);
  }
  if (failure.code === "internal") {
    const { stack } = failure.detail as { readonly stack: readonly string[] };
    streams.err.write(`${stack.map((line) => `  ${line}`).join("\n")}\n`);
  }
}

/** Waits until the text is out: exit codes are set when nobody writes any more. */
function print(text: string): Promise<void> {
  return new Promise((resolve) => streams.out.write(`${text}\n`, () => resolve()));
}
