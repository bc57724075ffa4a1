/** Reports as files: JSON for programs and for `compare`, a page for people. */
import { type QuantizeReport, readReport, renderReport } from "../report/index.ts";
import { readJson, type WriteFileOptions, writeText } from "./artefact.ts";

/** True for the names that get a page; all others get JSON. */
export const isPageName = (path: string): boolean => /\.html?$/i.test(path);

/**
 * Writes a report: as one self-contained HTML page where the name ends in .html or .htm, else as JSON.
 *
 * @throws output - see `WriteFileOptions`.
 */
export async function saveReport(
  report: QuantizeReport,
  path: string,
  options: WriteFileOptions = {},
): Promise<void> {
  const text = isPageName(path)
    ? await renderReport(report)
    : `${JSON.stringify(report, null, 2)}\n`;
  await writeText(path, text, options);
}

/**
 * Reads the JSON report of a run.
 *
 * @throws bad-option - the file cannot be read, or is no report of this version.
 */
export async function loadReport(path: string): Promise<QuantizeReport> {
  return readReport(await readJson(path, "report"), path);
}
