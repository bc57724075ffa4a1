/** The registries as help text: every method with its one-line summary. */
import { allocators, corrections, quantizers, scorers, targets } from "../index.ts";
import { wrap } from "./table.ts";

const columns = 80;

const sections = {
  scorer: ["Scorers", scorers],
  allocator: ["Allocators", allocators],
  quantizer: ["Quantizers", quantizers],
  correction: ["Corrections", corrections],
  target: ["Targets", targets],
} as const;

/** One section per kind of method. */
export function describeMethods(kinds: readonly (keyof typeof sections)[]): string {
  return kinds
    .map((kind) => {
      const [title, registry] = sections[kind];
      const entries = Object.entries(registry as Record<string, { readonly summary: string }>);
      const width = Math.max(...entries.map(([name]) => name.length)) + 4;
      const indent = `\n${" ".repeat(width)}`;
      const lines = entries.map(
        ([name, { summary }]) =>
          `  ${name}`.padEnd(width) + wrap(summary, columns - width).join(indent),
      );
      return `${title} (--${kind}):\n${lines.join("\n")}`;
    })
    .join("\n\n");
}
