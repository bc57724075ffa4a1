/** src/cli/README.md is made from the command objects; `npm run docs:readme` rewrites its generated part. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import type { CommandDefinition, OptionSpec } from "../../src/cli/command.ts";
import { verbs, wholeCommand } from "../../src/cli/commands/index.ts";
import { markdownTable, replaceSection } from "../support/markdown.ts";

const path = fileURLToPath(new URL("../../src/cli/README.md", import.meta.url));

test("the tables of options are those of the commands", async () => {
  const content = [wholeCommand, ...verbs].map(describeCommand).join("\n\n");
  const current = replaceSection(readFileSync(path, "utf8"), "commands", content);
  await expect(current).toMatchFileSnapshot(path);
});

function describeCommand(command: CommandDefinition): string {
  const { name, summary, arguments: positional, options, examples } = command;
  const required = Object.values(options).filter((option) => option.required);
  const usage = ["quantize", name, ...positional.map((one) => `<${one}>`)]
    .concat(required.map(({ flags }) => flags.replace(/^(-.), --\S+/, "$1")))
    .filter((part) => part !== "")
    .join(" ");
  const parts = [
    `## \`quantize${name === "" ? "" : ` ${name}`}\``,
    summary,
    `\`\`\`\n${usage} [options]\n\n${examples.map((line) => `$ ${line}`).join("\n")}\n\`\`\``,
    optionTable(Object.values(options).filter((option) => !option.advanced)),
  ];
  const advanced = Object.values(options).filter((option) => option.advanced);
  if (advanced.length > 0) parts.push("Advanced:", optionTable(advanced));
  return parts.join("\n\n");
}

function optionTable(options: readonly OptionSpec<unknown>[]): string {
  const rows = options.map(({ flags, help, required, choices, repeat }) => {
    const more = [
      choices && `one of ${choices.map((choice) => `\`${choice}\``).join(", ")}`,
      required && "required",
      repeat && !/repeatable/.test(help) && "repeatable",
    ].filter((part) => part);
    return [`\`${flags}\``, [inCell(help), ...more].join("; ")];
  });
  return markdownTable(["option", "meaning"], rows);
}

/** Help text speaks of <files>, which Markdown would take for HTML. */
const inCell = (text: string) => text.replaceAll("|", "\\|").replaceAll("<", "&lt;");
