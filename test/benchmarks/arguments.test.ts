import { describe, expect, test } from "vitest";
import {
  ArgumentError,
  amount,
  choice,
  count,
  file,
  flag,
  names,
  numbers,
  parseArguments,
  repeated,
} from "../../benchmarks/harness/arguments.ts";

const options = {
  quick: flag(""),
  rows: count("", 64),
  layer: count("", 4096, 0),
  bits: numbers("", [2, 3]),
  scorers: names("", ["lim", "zd"]),
  size: choice("", ["small", "large"], "small"),
  tolerance: amount(""),
  results: file(""),
  pin: repeated(""),
};
const parse = (...argv: string[]) => parseArguments(options, argv).values;

test("options that are not given have their defaults", () => {
  expect(parse()).toEqual({
    quick: false,
    rows: 64,
    layer: 4096,
    bits: [2, 3],
    scorers: ["lim", "zd"],
    size: "small",
    tolerance: undefined,
    results: undefined,
    pin: [],
  });
});

test("given values are read by their kind", () => {
  const argv = ["--quick", "--rows=8", "--layer", "0", "--bits", "2, 2.5", "--scorers", "zd"];
  const rest = ["--size", "large", "--tolerance", "0.05", "--results", "a.jsonl"];
  expect(parse(...argv, ...rest, "--pin", "a=b", "--pin", "c=d")).toEqual({
    quick: true,
    rows: 8,
    layer: 0,
    bits: [2, 2.5],
    scorers: ["zd"],
    size: "large",
    tolerance: 0.05,
    results: "a.jsonl",
    pin: ["a=b", "c=d"],
  });
});

describe("errors say what was expected", () => {
  test.each([
    [["--rows", "0"], "--rows: expected a whole number of at least 1"],
    [["--rows", "2.5"], "--rows: expected a whole number"],
    [["--layer", "x"], "--layer: expected a whole number of at least 0"],
    [["--bits", "2,,3"], "--bits: expected a list"],
    [["--bits", "2,-3"], "--bits: expected a number above zero"],
    [["--scorers", "lim,sum"], "--scorers: expected one of lim, zd"],
    [["--size", "medium"], "--size: expected one of small, large"],
    [["--tolerance", "no"], "--tolerance: expected a number above zero"],
    [["--results", ""], "--results: expected a value"],
    [["--row", "3"], "--row"],
    [["--rows"], "--rows"],
    [["--quick=yes"], "--quick"],
    [["stray"], "stray"],
  ])("%j", (argv, message) => {
    expect(() => parseArguments(options, argv)).toThrow(ArgumentError);
    expect(() => parseArguments(options, argv)).toThrow(message);
  });
});

test("positional words are counted", () => {
  const wanted = ["OLD", "NEW"];
  expect(parseArguments({}, ["a", "b"], wanted).positionals).toEqual(["a", "b"]);
  expect(() => parseArguments({}, ["a"], wanted)).toThrow("expected OLD NEW");
});
