/**
 * Events to the error stream: a live bar with the time left on a terminal, lines everywhere else.
 * Invariant: nothing goes to standard output.
 */
import { Presets, SingleBar } from "cli-progress";
import type { Event, Notice } from "../index.ts";
import { needsText } from "./needs-text.ts";
import { decibel, duration, significant } from "./numbers.ts";
import type { Style } from "./style.ts";
import { shorten } from "./table.ts";

export interface Progress {
  onEvent(event: Event): void;
  /** Takes the bar away before something else is written. */
  clear(): void;
  /** Removes the bar; after a failure also prints the notices that the result would have listed. */
  end(failed: boolean): void;
}

export interface ProgressOptions {
  readonly stream: NodeJS.WriteStream;
  readonly style: Style;
  readonly quiet: boolean;
  /** False when the result lists them on the same screen. */
  readonly printNotices: boolean;
}

const stageTitles: Readonly<Record<string, string>> = {
  open: "open model",
  data: "read data",
  preflight: "estimate",
  calibrate: "calibrate",
  score: "score layers",
  measure: "measure loss",
  plan: "plan",
  gate: "gate",
  quantize: "quantize",
  evaluate: "evaluate",
  save: "save",
  growth: "error growth",
  compare: "compare scores",
  generate: "generate",
};

export function createProgress(options: ProgressOptions): Progress {
  const { stream, style, quiet, printNotices } = options;
  const withheld: Notice[] = [];
  const line = (text: string) => void stream.write(`${text}\n`);
  const noteLine = (notice: Notice) => line(`${style.warn("note:")} ${notice.message}`);
  const view = quiet ? silentView() : stream.isTTY ? barView(stream) : lineView(line);
  let stage = "";
  return {
    onEvent(event) {
      if (event.type === "notice") {
        if (quiet) return;
        if (!printNotices) withheld.push(event.notice);
        else {
          view.clear();
          noteLine(event.notice);
        }
      } else if (event.type === "needs") {
        if (quiet) return;
        view.clear();
        line(needsText(event.needs));
      } else if (event.type === "stage") {
        stage = event.stage;
        view.stage(titleOf(stage));
      } else if (event.type === "progress") {
        // The gate evaluates too; the bar names the stage that the user waits for.
        const name = event.stage === "evaluate" ? stage : event.stage;
        view.progress(titleOf(name), event.done, event.total, event.label ?? "");
      } else view.layer(event);
    },
    clear: view.clear,
    end(failed) {
      view.clear();
      if (failed && !quiet) withheld.forEach(noteLine);
    },
  };
}

const titleOf = (stage: string) => stageTitles[stage] ?? stage;

interface View {
  stage(title: string): void;
  progress(title: string, done: number, total: number, label: string): void;
  layer(event: Extract<Event, { type: "layer" }>): void;
  clear(): void;
}

const silentView = (): View => ({
  stage() {},
  progress() {},
  layer() {},
  clear() {},
});

/** A line per stage and per quantized layer; long stages say at each quarter how far they are. */
function lineView(line: (text: string) => void): View {
  let told = "";
  return {
    stage: (title) => line(title),
    progress(title, done, total) {
      if (total < 8 || title === "quantize") return;
      const quarter = Math.floor((4 * done) / total);
      const mark = `${title} ${quarter}`;
      if (quarter === 0 || mark === told) return;
      told = mark;
      line(`${title}: ${done} of ${total}`);
    },
    layer({ layer, format, loss, sqnrDb, elapsedMs }) {
      const noise = decibel(Number.isFinite(sqnrDb) ? sqnrDb : null);
      line(`${layer}  ${format}  loss ${significant(loss)}  ${noise}  ${duration(elapsedMs)}`);
    },
    clear() {},
  };
}

function barView(stream: NodeJS.WriteStream): View {
  const columns = () => Math.max(40, stream.columns ?? 80);
  let bar: SingleBar | undefined;
  let shown = "";
  const clear = () => {
    bar?.stop();
    bar = undefined;
    shown = "";
  };
  const show = (title: string, total: number) => {
    if (title === shown) return;
    clear();
    shown = title;
    const format = total > 0 ? "{title} {bar} {value}/{total}  {left}{label}" : "{title} {label}";
    bar = new SingleBar(
      {
        stream,
        format,
        barsize: 24,
        hideCursor: true,
        clearOnComplete: true,
        etaBuffer: 20,
        // The caller ends the process; a second handler would only race with it.
        gracefulExit: false,
      },
      Presets.shades_classic,
    );
    bar.start(Math.max(1, total), 0, { title: title.padEnd(12), label: "", left: "" });
  };
  const started = new Map<string, number>();
  return {
    stage(title) {
      started.clear();
      show(title, 0);
    },
    progress(title, done, total, label) {
      const first = started.get(title) ?? performance.now();
      started.set(title, first);
      const key = `${title} `;
      show(key, total);
      const perItem = done > 1 ? (performance.now() - first) / (done - 1) : 0;
      const left = perItem > 0 ? `${duration(perItem * (total - done))} left  ` : "";
      const room = columns() - 72;
      bar?.update(Math.min(done, total), { left, label: room > 8 ? shorten(label, room) : "" });
    },
    layer({ layer, format }) {
      bar?.update({ label: shorten(`${layer}  ${format}`, columns() - 20) });
    },
    clear,
  };
}
