/**
 * Names of layers and blocks in the little room of a page: what they all have in common is left out. Invariant: names
 * that differ stay different.
 */

/** Characters that a name in a table or a label may have. */
const longest = 38;

/**
 * Without common leading parts and without an operator's name at the end, the middle cut out where that is still long.
 */
export function shortNames(names: readonly string[]): string[] {
  const bare = unless(names, (name) => name.replace(/\/(MatMul|Gemm|Gather|Conv)(_\d+)?$/, ""));
  const start = commonStart(bare);
  const tails = unless(bare, (name) => name.slice(start).replace(/^[/.]+/, ""));
  return unless(tails, (name) => cutMiddle(name, longest));
}

/** Both ends of a name tell it from others. */
export function cutMiddle(text: string, most: number): string {
  if (text.length <= most) return text;
  const head = Math.floor((most - 1) / 3);
  return `${text.slice(0, head)}…${text.slice(text.length - (most - 1 - head))}`;
}

/** Last part of a path. */
export const fileName = (path: string): string => path.split(/[/\\]/).pop() || path;

/** "layers.0", "layers.1", … become "0", "1", …; names of other forms are shortened. */
export function blockLabels(names: readonly string[]): {
  readonly hasNumbers: boolean;
  readonly labels: readonly string[];
} {
  const numbered = names.map((name) => /^(.*?)(\d+)$/.exec(name));
  const stems = new Set(numbered.map((match) => match?.[1]));
  const hasNumbers = names.length > 0 && stems.size === 1 && numbered[0] !== null;
  const labels = hasNumbers
    ? numbered.map((match) => match?.[2] ?? "")
    : shortNames(names).map((name) => cutMiddle(name, 14));
  return { hasNumbers, labels };
}

/** The change, unless it makes two names the same or leaves one empty. */
function unless(names: readonly string[], change: (name: string) => string): string[] {
  const changed = names.map(change);
  const differ = new Set(changed).size === new Set(names).size;
  return differ && changed.every((name) => name !== "") ? changed : [...names];
}

/** Length of the leading path that all names share, up to a separator; 0 for a single name's last part. */
function commonStart(names: readonly string[]): number {
  const [first = "", ...others] = names;
  let length = 0;
  for (let at = 0; at < first.length; at++) {
    if (!others.every((name) => name[at] === first[at])) break;
    if (first[at] === "/" || first[at] === ".") length = at + 1;
  }
  return length;
}
