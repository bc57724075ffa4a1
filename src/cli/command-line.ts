/** The command as it was typed, for the report: words that a shell would split or change are quoted. */
export function commandLine(words: readonly string[]): string {
  const quoted = words.map((word) =>
    /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`,
  );
  return ["quantize", ...quoted].join(" ");
}
