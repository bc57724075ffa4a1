/** What both runs took of time and memory, stage by stage. */
import type { QuantizeReport } from "../../document.ts";
import { html } from "../../page/html.ts";
import { byteSize, duration } from "../../page/numbers.ts";
import type { Section } from "../../page/section.ts";
import { shownMs } from "../../page/sections/effort.ts";
import { type DataTable, dataTable } from "../../page/table.ts";
import type { PairInput } from "../pair.ts";

export function effortSection({ a, b, comparison }: PairInput): Section {
  const [timeA, timeB] = [comparison.a, comparison.b].map(({ elapsedMs }) =>
    inOneLine(duration(elapsedMs)),
  );
  const [peakA, peakB] = [a, b].map(({ environment }) =>
    inOneLine(byteSize(environment.peakMemoryBytes)),
  );
  const places = [machineOf(a), machineOf(b)];
  const say = html`<p>A took ${timeA} and ${peakA} of memory at most, B ${timeB} and ${peakB}.</p>
${
  places[0] === places[1]
    ? html`<p class="soft">Both ran on ${places[0]}. What else the machine did is not known.</p>`
    : html`<p class="soft">A ran on ${places[0]}, B on ${places[1]}, so times differ by that too.</p>`
}`;
  return { id: "effort", title: "Time and memory", say, show: dataTable(stageTable(a, b)) };
}

const inOneLine = (text: string): string => text.replaceAll(" ", "\u00a0");

const machineOf = ({ environment }: QuantizeReport): string => {
  const { platform, threads, node, onnxRuntime } = environment;
  return `${platform} with ${threads} thread${threads === 1 ? "" : "s"}, Node ${node} and ONNX Runtime ${onnxRuntime}`;
};

function stageTable(a: QuantizeReport, b: QuantizeReport): DataTable {
  const runs = [a, b] as const;
  const stages = inRunOrder(Object.keys(a.timings), Object.keys(b.timings)).filter((stage) =>
    runs.some(({ timings }) => (timings[stage] ?? 0) >= shownMs),
  );
  const longest = Math.max(
    1,
    ...stages.flatMap((stage) => runs.map(({ timings }) => timings[stage] ?? 0)),
  );
  const place = (ms: number) => ((100 * ms) / longest).toFixed(2);
  const show = (ms: number | undefined) => (ms === undefined ? "–" : duration(ms));
  const totals = runs.map(({ timings }) => Object.values(timings).reduce((x, y) => x + y, 0));
  return {
    caption: "Stages; bars are A, upright marks B",
    columns: [
      { title: "stage" },
      { title: "A", align: "right" },
      { title: "B", align: "right" },
      { title: "beside each other" },
    ],
    rows: [
      ...stages.map((stage) => {
        const [one, other] = runs.map(({ timings }): number | undefined => timings[stage]);
        return [
          stage,
          show(one),
          show(other),
          html`<span class="gauge" aria-hidden="true">${
            one === undefined ? null : html`<i style="width:${place(one)}%"></i>`
          }${
            other === undefined ? null : html`<b style="left:calc(${place(other)}% - 1px)"></b>`
          }</span>`,
        ];
      }),
      ["total", ...totals.map(duration), ""],
      [
        "memory at most",
        ...runs.map(({ environment }) => byteSize(environment.peakMemoryBytes)),
        "",
      ],
    ],
  };
}

/** Stages of both; one that only the second has comes after what came before it there. */
function inRunOrder(a: readonly string[], b: readonly string[]): string[] {
  const all = [...a];
  for (const [at, stage] of b.entries()) {
    if (!all.includes(stage)) all.splice(at === 0 ? 0 : all.indexOf(b[at - 1]) + 1, 0, stage);
  }
  return all;
}
