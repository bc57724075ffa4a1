/**
 * Runs the steps of a session: works out shapes, plans memory, fills tasks, executes. When shapes are those of the run
 * before, only the last remains.
 * Invariant: a run that fails leaves nothing behind that the next run trusts.
 */
import { BitloomError, invariant } from "../../core/errors.ts";
import type { Feeds } from "../../core/feeds.ts";
import { elementCount } from "../../core/tensor.ts";
import { Arena, sizeClass } from "./arena.ts";
import type { Engine } from "./engine.ts";
import { evaluateTypes } from "./infer.ts";
import { arrayOf, feedOf, type HostTensor, storedNumbers } from "./storage.ts";
import { memoryInputs, type NodeStep, type SegmentStep, type Step } from "./step.ts";
import { addressOf, type Value } from "./values.ts";

export interface ProgramParts {
  readonly engine: Engine;
  readonly steps: readonly Step[];
  readonly feeds: readonly Value[];
  readonly outputs: readonly Value[];
}

export class Program {
  readonly #engine: Engine;
  readonly #all: readonly Step[];
  readonly #feeds: readonly Value[];
  #run = 0;
  /** The steps that the outputs of this run need, and which outputs those are. */
  #active: readonly Step[] = [];
  #fetched = "";
  #lastUses = new Map<Value, number>();
  readonly #inferredAt = new Map<Step, number>();
  readonly #pointers = new Map<Step, readonly number[]>();
  #arena = new Arena();
  #arenaAddress = 0;
  #arenaBytes = 0;
  /** The plan and the bound tasks are good for the shapes that the values have. */
  #isReady = false;
  #boundVersion = -1;

  constructor({ engine, steps, feeds }: ProgramParts) {
    this.#engine = engine;
    this.#all = steps;
    this.#feeds = feeds;
  }

  /**
   * @param feeds - one tensor per feed value, in their order.
   * @returns views that are valid until the next run.
   */
  async run(
    feeds: readonly HostTensor[],
    outputs: readonly Value[],
  ): Promise<readonly HostTensor[]> {
    const run = ++this.#run;
    this.#select(outputs);
    for (const [index, value] of this.#feeds.entries()) value.assign(feeds[index], undefined, run);
    const wasReady = this.#isReady;
    this.#isReady = false;
    let isPlanned = wasReady;
    const steps = this.#active;
    let start = 0;
    do {
      const { stop, changed } = this.#infer(start, run);
      // A graph whose shapes depend on contents is planned anew in every run.
      if (!isPlanned || changed || stop < steps.length) {
        if (start === 0) this.#startPlan();
        isPlanned = false;
        this.#plan(start, stop, run);
        this.#bind(start, stop, run);
      } else if (this.#boundVersion !== this.#engine.version) this.#bind(start, stop, run);
      if (start === 0) this.#copyFeeds(feeds);
      await this.#execute(start, stop);
      start = stop;
    } while (start < steps.length);
    this.#isReady = true;
    return outputs.map((value) => {
      const view = value.view(this.#engine.buffer, this.#arenaAddress);
      invariant(view, `output ${value.name} was not computed`);
      return view;
    });
  }

  /** Finds the steps behind the wanted outputs and until when each value is needed. */
  #select(outputs: readonly Value[]): void {
    const fetched = outputs.map(({ name }) => JSON.stringify(name)).join();
    if (fetched === this.#fetched && this.#active.length > 0) return;
    this.#fetched = fetched;
    this.#isReady = false;
    const needed = new Set(outputs);
    const active: Step[] = [];
    for (const step of [...this.#all].reverse()) {
      if (!step.outputs.some((value) => value && needed.has(value))) continue;
      active.unshift(step);
      for (const value of step.inputs) if (value) needed.add(value);
    }
    this.#active = active;
    this.#lastUses = new Map();
    for (const [index, step] of active.entries()) {
      for (const value of step.inputs) if (value) this.#lastUses.set(value, index);
    }
    for (const value of outputs) this.#lastUses.set(value, active.length);
  }

  /** Works out types from `start` on, as far as they do not depend on what is yet to be computed. */
  #infer(start: number, run: number): { stop: number; changed: boolean } {
    let changed = false;
    const steps = this.#active;
    for (let index = start; index < steps.length; index++) {
      const step = steps[index];
      if (step.kind === "segment") {
        // Its outputs have the types of an earlier run; those of this one are known only afterwards.
        if (index > start) return { stop: index, changed: true };
        for (const value of step.outputs) value.type = undefined;
        changed = true;
        continue;
      }
      if (step.inputs.some((value) => value && value.type === undefined)) {
        return { stop: index, changed: true };
      }
      const last = this.#inferredAt.get(step) ?? -1;
      if (!step.inputs.some((value) => value && value.changed > last) && last >= 0) continue;
      const inputs = step.inputs.map((value) => value?.inferInput());
      const isDone = evaluateTypes(step, inputs, run, (input) =>
        index === start ? this.#read(step.inputs[input]) : undefined,
      );
      if (!isDone) return { stop: index, changed: true };
      this.#inferredAt.set(step, run);
      changed = true;
    }
    return { stop: steps.length, changed };
  }

  /** A copy of a value that has been computed. */
  #read(value: Value | undefined): HostTensor | undefined {
    const view = value?.view(this.#engine.buffer, this.#arenaAddress);
    return view && { ...view, data: view.data.slice() };
  }

  #startPlan(): void {
    this.#arena = new Arena();
    for (const value of this.#feeds) {
      const lastUse = this.#lastUses.get(value);
      value.storage =
        lastUse === undefined ? undefined : this.#arena.take(value.bytes, lastUse);
    }
  }

  #plan(start: number, stop: number, run: number): void {
    const arena = this.#arena;
    for (let index = start; index < stop; index++) {
      const step = this.#active[index];
      if (step.kind === "node") this.#planNode(step, index);
      arena.finish(index);
    }
    this.#reserveArena();
    for (let index = start; index < stop; index++) {
      for (const value of memoryInputs(this.#active[index])) {
        if (value.known && !value.isConstant) this.#upload(value, run);
      }
    }
  }

  #planNode(step: NodeStep, index: number): void {
    const arena = this.#arena;
    const { operator, compiled, inputs, outputs, mode } = step;
    const first = inputs[0];
    for (const [at, value] of outputs.entries()) {
      if (!value?.type || value.known) continue;
      const lastUse = this.#lastUses.get(value) ?? index;
      const shared =
        operator.alias && at === 0 ? first?.storage : this.#takenOver(step, value, at, index);
      if (shared) {
        value.storage = shared;
        if (shared.kind === "arena") arena.extend(shared, lastUse);
      } else value.storage = arena.take(value.bytes, lastUse);
    }
    const bytes = mode === "compiled" ? (compiled?.workspaceBytes?.(types(inputs), types(outputs)) ?? 0) : 0;
    step.workspace = bytes > 0 ? { offset: arena.takeFor(bytes, index).offset, bytes } : undefined;
  }

  /** Memory of an input that output 0 may overwrite. */
  #takenOver({ operator, inputs }: NodeStep, value: Value, at: number, index: number) {
    if (at !== 0) return undefined;
    for (const input of operator.inPlace ?? []) {
      const source = inputs[input];
      const storage = source?.storage;
      if (!storage || source.known || storage.kind !== "arena") continue;
      if (storage.lastUse === index && storage.bytes === sizeClass(value.bytes)) return storage;
    }
    return undefined;
  }

  /** Makes room for the plan; what was computed in this run moves along. */
  #reserveArena(): void {
    const { bytes } = this.#arena;
    if (bytes <= this.#arenaBytes) return;
    const address = this.#engine.take(bytes);
    if (this.#arenaBytes > 0) {
      const memory = this.#engine.bytes();
      memory.copyWithin(address, this.#arenaAddress, this.#arenaAddress + this.#arenaBytes);
      this.#engine.give(this.#arenaAddress);
    }
    this.#arenaAddress = address;
    this.#arenaBytes = bytes;
  }

  /** Known numbers that a kernel reads get a block of their own, which stays until they need a larger one. */
  #upload(value: Value, run: number): void {
    const { known } = value;
    if (!known) return;
    let storage = value.storage?.kind === "own" ? value.storage : undefined;
    if (storage && value.changed !== run) return;
    if (storage && storage.bytes < value.bytes) {
      this.#engine.give(storage.offset);
      storage = undefined;
    }
    const bytes = sizeClass(value.bytes);
    storage ??= { offset: this.#engine.take(bytes), bytes, kind: "own", lastUse: 0 };
    value.storage = storage;
    new (arrayOf(known.dtype))(this.#engine.buffer, storage.offset, known.data.length).set(known.data);
  }

  #bind(start: number, stop: number, run: number): void {
    const { engine } = this;
    const arena = this.#arenaAddress;
    const moved = this.#boundVersion !== engine.version;
    for (let index = start; index < stop; index++) {
      const step = this.#active[index];
      if (step.kind === "segment" || step.mode === "nothing") continue;
      const values = [...step.inputs, ...step.outputs];
      const pointers = values.map((value) => (value?.storage ? addressOf(value.storage, arena) : 0));
      const workspace = step.workspace ? arena + step.workspace.offset : 0;
      pointers.push(workspace);
      const old = this.#pointers.get(step);
      const isSame =
        old?.every((pointer, at) => pointer === pointers[at]) &&
        values.every((value) => !value || value.changed < run);
      if (isSame && !(moved && step.mode === "compute")) continue;
      this.#pointers.set(step, pointers);
      bindStep(step, engine, arena, workspace);
    }
    this.#boundVersion = engine.version;
  }

  get engine(): Engine {
    return this.#engine;
  }

  #copyFeeds(feeds: readonly HostTensor[]): void {
    for (const [index, value] of this.#feeds.entries()) {
      const view = value.view(this.#engine.buffer, this.#arenaAddress);
      view?.data.set(feeds[index].data);
    }
  }

  async #execute(start: number, stop: number): Promise<void> {
    for (let index = start; index < stop; index++) {
      const step = this.#active[index];
      if (step.kind === "node") step.execute();
      else await this.#executeSegment(step, index);
    }
  }

  async #executeSegment(step: SegmentStep, index: number): Promise<void> {
    const feeds: Record<string, ReturnType<typeof feedOf>> = {};
    for (const value of step.inputs) {
      const view = value.view(this.#engine.buffer, this.#arenaAddress);
      invariant(view, `segment input ${value.name} was not computed`);
      feeds[value.name] = feedOf(view);
    }
    const results: Feeds = await step.run(feeds);
    for (const value of step.outputs) {
      const { dtype, shape, data } = results[value.name];
      if (isTexts(data)) {
        throw new BitloomError(
          "unsupported",
          `Value "${value.name}" holds strings, which the runtime cannot carry. Leave the node that makes it out of the model.`,
          { what: "tensors of string", node: value.name },
        );
      }
      value.assign({ dtype, shape }, undefined, this.#run);
      value.changed = this.#run;
      value.storage = this.#arena.take(value.bytes, this.#lastUses.get(value) ?? index);
      this.#reserveArena();
      const view = value.view(this.#engine.buffer, this.#arenaAddress);
      invariant(view?.data.length === elementCount(shape), `segment output ${value.name}`);
      view.data.set(storedNumbers(dtype, data));
    }
  }
}

const isTexts = (data: unknown): data is readonly string[] => Array.isArray(data);

const types = (values: NodeStep["inputs"]) => values.map((value) => value?.type);

function bindStep(step: NodeStep, engine: Engine, arena: number, workspace: number): void {
  const { node, operator, compiled, inputs, outputs } = step;
  if (step.mode === "compiled") {
    invariant(compiled, `${node.name} has no compiled form`);
    const operands = inputs.map((value) => value?.operand(arena));
    compiled.bind(
      operands,
      outputs.map((value) => value?.operand(arena)),
      workspace,
    );
    step.execute = () => compiled.run();
    return;
  }
  const read = (value: Value | undefined) => value?.view(engine.buffer, arena);
  const from = inputs.map(read);
  const to = outputs.map(read);
  step.execute = () => operator.compute?.(node, from, to);
}
