/** What the run took of time and memory, against what was estimated before it began. */
import type { QuantizeReport } from "../../document.ts";
import { html } from "../html.ts";
import { byteSize, counted, duration, grouped } from "../numbers.ts";
import type { PageInput, Section } from "../section.ts";
import { dataTable, factList } from "../table.ts";

export function effortSection({ report }: PageInput): Section {
  const { timings, preflight, environment } = report;
  const total = Object.values(timings).reduce((sum, ms) => sum + ms, 0);
  const [longest, most] = Object.entries(timings).reduce<[string, number]>(
    (a, b) => (b[1] > a[1] ? b : a),
    ["", 0],
  );
  const say = html`<p>The run took ${duration(total)}${most > total / 3 ? html`, ${duration(most)} of them for <code>${longest}</code>` : null}, and ${byteSize(environment.peakMemoryBytes)} of memory at most.</p>
${preflight?.seconds ? html`<p class="soft">Estimates are made before the run, from counted operations; what else the machine does is not in them.</p>` : null}`;
  const show = html`${timeTable(report)}
${factList(memoryFacts(report))}`;
  return { id: "effort", title: "Time and memory", say, show };
}

/** Stages that take less than this have no row. */
export const shownMs = 20;

function timeTable({ timings, preflight }: QuantizeReport) {
  const seconds = preflight?.seconds ?? {};
  const rows = Object.entries(timings)
    .map(([stage, ms]) => ({ stage, ms, estimate: (seconds[stage] ?? 0) * 1000 }))
    .filter(({ ms, estimate }) => ms >= shownMs || estimate >= shownMs);
  const hasEstimates = rows.some(({ estimate }) => estimate > 0);
  const longest = Math.max(1, ...rows.map(({ ms }) => ms), ...rows.map(({ estimate }) => estimate));
  const place = (ms: number) => ((100 * ms) / longest).toFixed(2);
  return dataTable({
    caption: hasEstimates ? "Stages; the upright mark is the estimate" : "Stages",
    columns: [
      { title: "stage" },
      { title: "took", align: "right" },
      ...(hasEstimates ? [{ title: "estimated", align: "right" } as const] : []),
      { title: "beside each other" },
    ],
    rows: rows.map(({ stage, ms, estimate }) => [
      stage,
      duration(ms),
      ...(hasEstimates ? [estimate > 0 ? duration(estimate) : "–"] : []),
      html`<span class="gauge" aria-hidden="true"><i style="width:${place(ms)}%"></i>${
        estimate > 0 ? html`<b style="left:calc(${place(estimate)}% - 1px)"></b>` : null
      }</span>`,
    ]),
  });
}

function memoryFacts({ environment, preflight, propagation }: QuantizeReport) {
  const facts: [string, string][] = [
    [
      "Memory at most",
      preflight
        ? `${byteSize(environment.peakMemoryBytes)}; estimated ${byteSize(preflight.memoryBytes)}`
        : byteSize(environment.peakMemoryBytes),
    ],
  ];
  if (propagation) {
    facts.push([
      "Kept activations",
      `${byteSize(propagation.memoryBytes)} in memory, ${byteSize(propagation.diskBytes)} in temporary files`,
    ]);
  }
  if (preflight) {
    const { temporaryBytes, checkpointBytes, outputBytes } = preflight.disk;
    facts.push([
      "Disk, estimated",
      `${byteSize(outputBytes)} output, ${byteSize(checkpointBytes)} checkpoint, ${byteSize(temporaryBytes)} temporary files`,
    ]);
  }
  if (preflight?.rows) {
    const { layer, rows, k } = preflight.rows;
    facts.push([
      "Fewest rows",
      `${grouped(Math.round(rows))} calibration rows for ${counted(k, "input")} of ${layer}`,
    ]);
  }
  return facts;
}
