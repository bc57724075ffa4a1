/** Colours for terminals; plain text everywhere else and where NO_COLOR is set (https://no-color.org). */

export interface Style {
  bold(text: string): string;
  dim(text: string): string;
  warn(text: string): string;
  bad(text: string): string;
  /** Characters per line that tables may use. */
  readonly columns: number;
}

/** Long layer names stay whole where nobody looks at the line length. */
const unlimited = 1000;

export function createStyle(stream: NodeJS.WriteStream, env: NodeJS.ProcessEnv): Style {
  const colours = stream.isTTY && !env.NO_COLOR && env.TERM !== "dumb";
  const paint = (code: number, end: number) => (text: string) =>
    colours && text !== "" ? `\x1b[${code}m${text}\x1b[${end}m` : text;
  return {
    bold: paint(1, 22),
    dim: paint(2, 22),
    warn: paint(33, 39),
    bad: paint(31, 39),
    columns: stream.isTTY ? Math.max(60, stream.columns) : unlimited,
  };
}
