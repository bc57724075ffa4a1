/** What a run will need, in one line. */
import { formatBytes, type RunNeeds } from "../index.ts";
import { counted, grouped } from "./numbers.ts";

/** "needs about 1.2 GB of memory, 310 MB of disk and 4 min (a rough guess); at least 512 rows ..." */
export function needsText({ memoryBytes, disk, seconds, rows }: RunNeeds): string {
  const { temporaryBytes, checkpointBytes, outputBytes } = disk;
  const temporary = temporaryBytes > 0 ? ` (${formatBytes(temporaryBytes)} of it temporary)` : "";
  const written = formatBytes(temporaryBytes + checkpointBytes + outputBytes);
  const parts = [`${formatBytes(memoryBytes)} of memory`, `${written} of disk${temporary}`];
  if (seconds) {
    parts.push(roughTime(Object.values(seconds).reduce((sum, value) => sum + value, 0)));
  }
  const last = parts.pop();
  const least = rows
    ? `; at least ${counted(Math.floor(rows.rows), "calibration row")} for ${grouped(rows.k)} inputs`
    : "";
  return `needs about ${parts.join(", ")} and ${last}${least}`;
}

/** No more digits than a rough guess deserves: "under 10 s", "40 s", "4 min", "3.5 h". */
function roughTime(seconds: number): string {
  if (seconds < 10) return "under 10 s";
  if (seconds < 90) return `${10 * Math.round(seconds / 10)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(seconds < 36_000 ? 1 : 0)} h`;
}
