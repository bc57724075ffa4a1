import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { allocators, quantizers, scorers, targets } from "../../src/index.ts";
import { version } from "../../src/version.ts";
import { run, scratch, tinyLm } from "../support/command.ts";

const folder = scratch();
afterAll(folder.remove);

const verbs = ["inspect", "calibrate", "score", "plan", "apply", "evaluate", "compare", "run"];
const model = join(tinyLm, "model.onnx");

describe("help", () => {
  test("of every command fits 80 columns and has usage, options and examples", async () => {
    const helps = await Promise.all(
      ["", ...verbs].map((verb) => run([...(verb ? [verb] : []), "-h"])),
    );
    for (const [i, { code, stdout, stderr }] of helps.entries()) {
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      expect(stdout).toMatch(new RegExp(`^Usage: quantize ${verbs[i - 1] ?? "<model>"}`));
      expect(stdout).toMatch(/^Options:$/m);
      expect(stdout).toMatch(/^Examples:\n {2}\$ quantize/m);
      expect(stdout.split("\n").filter((line) => line.length > 80)).toEqual([]);
    }
  });

  test("lists every verb and every registered method with its summary", async () => {
    const { stdout } = await run(["--help"]);
    const flat = stdout.replace(/\s+/g, " ");
    for (const verb of verbs) expect(stdout).toMatch(new RegExp(`^ {2}${verb} `, "m"));
    for (const registry of [scorers, allocators, quantizers, targets]) {
      for (const [name, { summary }] of Object.entries(registry)) {
        expect(flat).toContain(`${name} ${summary}`);
      }
    }
  });

  test("--version, and help on standard error when nothing was asked", async () => {
    expect(await run(["--version"])).toMatchObject({ code: 0, stdout: `${version}\n` });
    const bare = await run([]);
    expect(bare).toMatchObject({ code: 2, stdout: "" });
    expect(bare.stderr).toMatch(/^Usage: quantize/);
  });
});

describe("wrong usage exits with 2, says what was expected and writes nothing", () => {
  const out = ["-o", folder.at("out.onnx")];
  const cases: readonly (readonly [name: string, args: readonly string[], message: RegExp])[] = [
    ["an unknown option", [model, ...out, "--bugdet", "4bpw"], /Unknown option '--bugdet'/],
    ["no output", [model, "-b", "4bpw"], /Missing option -o, --output <file>/],
    ["no budget", [model, ...out], /A budget is missing/],
    ["a budget without a unit", [model, ...out, "-b", "4"], /the unit is missing/],
    ["a budget of nonsense", [model, ...out, "-b", "many"], /Cannot read the budget "many"/],
    ["an unknown scorer", [model, ...out, "-s", "magic"], /Expected one of weight-error, lim/],
    [
      "an unknown target",
      ["inspect", model, "--target", "x"],
      /Expected one of portable, ort, qdq/,
    ],
    ["an unknown format", [model, ...out, "-f", "int7-b32"], /Unknown format "int7-b32"/],
    ["an ill-formed pin", [model, ...out, "-p", "lm_head"], /Cannot read the pin "lm_head"/],
    ["rows of zero", [model, ...out, "--rows", "0"], /Expected a whole number from 1/],
    ["fractional threads", [model, ...out, "--threads", "1.5"], /whole number from 1 to 256/],
    ["a seed that is NaN", [model, ...out, "--seed", "NaN"], /Expected a whole number from 0/],
    ["infinite damping", [model, ...out, "--damping", "Infinity"], /Expected a number above zero/],
    ["negative damping", [model, ...out, "--damping", "-1"], /Expected a number above zero/],
    ["a bos of nonsense", [model, ...out, "--bos", "yes"], /Expected auto, none or a token id/],
    ["a report of no known form", [model, ...out, "--report", "x.txt"], /ends in .html or .json/],
    ["two models", [model, model, ...out], /too many arguments/i],
    ["no model", ["inspect"], /missing required argument 'model'/i],
    [
      "crossed widths",
      [
        model,
        ...out,
        "-b",
        "4bpw",
        "--min-bits",
        "6",
        "--max-bits",
        "4",
        "-s",
        "weight-error",
        "-q",
        "rtn",
        "--rows",
        "2",
      ],
      /--min-bits 6 is above --max-bits 4/,
    ],
    [
      "a protocol without a text",
      [model, ...out, "-b", "4bpw", "--protocol", "hf-2048"],
      /needs a text to evaluate on/,
    ],
    [
      "a plan and a budget",
      [model, ...out, "--plan", "p.json", "-b", "4bpw"],
      /Option --budget does nothing beside --plan/,
    ],
    [
      "a plan that is no JSON",
      [model, ...out, "--plan", join(tinyLm, "README.md")],
      /Cannot read ".*README.md": expected JSON/,
    ],
    [
      "scores that are another JSON",
      ["plan", "--scores", join(tinyLm, "tokenizer.json"), "-b", "4bpw"],
      /Cannot use the scores/,
    ],
    [
      "a report that is another JSON",
      ["compare", join(tinyLm, "tokenizer.json"), join(tinyLm, "tokenizer.json")],
      /Cannot use ".*tokenizer.json" as a report: expected the report of a run/,
    ],
    [
      "statistics that are another file",
      [model, ...out, "-b", "4bpw", "--stats", model],
      /Cannot read the statistics/,
    ],
  ];
  test.each(cases)("%s", async (_, args, message) => {
    const { code, stdout, stderr } = await run([...args, "--quiet"]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toMatch(/^error: /);
    expect(stderr).toMatch(message);
    expect(stderr).not.toMatch(/\n\s+at /);
    expect(folder.files()).toEqual([]);
  });

  test("with --json as one document", async () => {
    const { code, stdout, stderr } = await run(["score", model, "--json", "--wrong"]);
    expect({ code, stderr }).toEqual({ code: 2, stderr: "" });
    expect(JSON.parse(stdout)).toEqual({
      version: 1,
      command: "score",
      error: { code: "bad-option", message: expect.stringContaining("--wrong"), detail: {} },
    });
  });

  test("an output that is an input, or named twice", async () => {
    for (const args of [
      [model, "-o", model],
      [model, ...out, "--save-plan", folder.at("../bitloom-none/plan.json")],
      [model, ...out, "--save-plan", folder.at("x.json"), "--report", folder.at("x.json")],
      [model, ...out, "--report", folder.at("x.html"), "--report", folder.at("x.html")],
      [
        "calibrate",
        model,
        "-o",
        join(tinyLm, "calibration.txt"),
        "-c",
        join(tinyLm, "calibration.txt"),
      ],
    ]) {
      const { code, stdout, stderr } = await run([...args, "--force"]);
      expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
      expect(stderr).toMatch(/^error: .*(is an input of this run|named for two outputs|folder)/);
    }
    expect(folder.files()).toEqual([]);
  });
});

test.each([
  ["calibrate", ["-o", folder.at("x.stats"), "-q", "rtn", "-s", "output-error"]],
  ["score", ["-o", folder.at("x.json"), "-q", "rtn", "-s", "output-error"]],
  ["evaluate", [model]],
])(
  "--memory-limit is kept by %s: values go to files, for which there is no room",
  async (verb, args) => {
    const data = ["-c", join(tinyLm, "calibration.txt"), "--rows", "6"];
    const given = verb === "evaluate" ? ["-e", data[1], "--evaluate-rows", "6"] : data;
    const { code, stderr } = await run([verb, model, ...args, ...given, "--memory-limit", "1KB"], {
      env: { TMPDIR: folder.at("missing") },
    });
    expect(stderr).toMatch(/Cannot keep (activations|statistics) in/);
    expect(code).toBe(1);
  },
);
