/**
 * Runs the steps of a session: works out shapes, plans memory, fills tasks, executes. When shapes are those of the run
 * before, only the last remains.
 * Invariant: a run that fails leaves nothing behind that the next run trusts.
 */
import { invariant } from "../../core/errors.ts";
import { elementCount } from "../../core/tensor.ts";
import type { Engine } from "../../engine/engine.ts";
import { Arena } from "./arena.ts";
import { bindStep, workspaceBytes } from "./bind.ts";
import { type Carried, CarriedValues } from "./carried.ts";
import { doNothing, evaluateTypes, unknownShape } from "./infer.ts";
import { runSegment } from "./segment.ts";
import { nothingSelected, selectSteps } from "./selection.ts";
import { memoryInputs, type NodeStep, type SegmentStep, type Step } from "./step.ts";
import type { HostTensor } from "./storage.ts";
import { uploadKnown } from "./upload.ts";
import { addressOf, type Value } from "./values.ts";

export interface ProgramParts {
  readonly engine: Engine;
  readonly steps: readonly Step[];
  readonly feeds: readonly Value[];
  /** Each `past` is one of `feeds`. */
  readonly carried: readonly Carried[];
}

export class Program {
  readonly #engine: Engine;
  readonly #all: readonly Step[];
  readonly #feeds: readonly Value[];
  readonly #carried: CarriedValues;
  #run = 0;
  /** The feeds of the present run, for shapes that depend on their contents. */
  readonly #given = new Map<Value, HostTensor | undefined>();
  /** What the outputs of this run need, and which outputs those are. */
  #selected = nothingSelected;
  #fetched = "";
  /** Values whose contents decide shapes. */
  readonly #decisive = new Set<Value>();
  /** What each step's tasks were filled with, and in which run. */
  readonly #bound = new Map<Step, { readonly pointers: readonly number[]; readonly run: number }>();
  #arena = new Arena();
  #arenaAddress = 0;
  #arenaBytes = 0;
  /** The plan and the bound tasks are good for the shapes that the values have. */
  #isReady = false;
  /** Steps whose output is a carried value with another shape, in order. */
  #aliases = new Set<NodeStep>();
  /** Steps that read or write carried values or aliases of them; found when the plan is first kept. */
  #carriers: readonly NodeStep[] | undefined;
  #boundVersion = -1;

  constructor({ engine, steps, feeds, carried }: ProgramParts) {
    this.#engine = engine;
    this.#all = steps;
    this.#feeds = feeds;
    this.#carried = new CarriedValues(engine, carried, steps);
  }

  /** Forgets what was carried over; the next run starts anew. */
  resetCarried(): void {
    this.#carried.reset();
  }

  /**
   * @param feeds - one tensor per feed value, in their order; undefined for those that are carried over.
   * @returns views that are valid until the next run.
   */
  async run(
    feeds: readonly (HostTensor | undefined)[],
    outputs: readonly Value[],
  ): Promise<readonly HostTensor[]> {
    const run = ++this.#run;
    this.#select([...outputs, ...this.#carried.presents]);
    for (const [index, value] of this.#feeds.entries()) {
      const type = feeds[index] ?? this.#carried.pastType(value);
      invariant(type, `feed ${value.name} is missing`);
      value.assign(type, undefined, run);
      this.#given.set(value, feeds[index]);
    }
    let isPlanned = this.#isReady;
    this.#isReady = false;
    const steps = this.#selected.steps;
    let start = 0;
    do {
      const { stop, touched } = this.#infer(start, run);
      // A step turned out to decide shapes that was not to run.
      if (this.#fetched === "") return this.run(feeds, outputs);
      if (stop === start && stop < steps.length) throw unknownShape(steps[stop]);
      // A graph whose shapes depend on contents is planned anew in every run.
      isPlanned &&= stop === steps.length && this.#keepsPlan(touched);
      if (isPlanned) this.#rebind(touched, run);
      else {
        if (start === 0) this.#startPlan(run);
        this.#plan(start, stop, run);
        this.#bind(start, stop, run);
      }
      if (start === 0) this.#copyFeeds(feeds);
      await this.#execute(start, stop);
      start = stop;
    } while (start < steps.length);
    this.#isReady = true;
    this.#carried.carryOver();
    return outputs.map((value) => {
      const view = value.view(this.#engine.buffer, this.#arenaAddress);
      invariant(view, `output ${value.name} was not computed`);
      return view;
    });
  }

  /** Finds the steps behind the wanted outputs and until when each value is needed. */
  #select(outputs: readonly Value[]): void {
    const fetched = outputs.map(({ name }) => JSON.stringify(name)).join();
    if (fetched === this.#fetched && this.#selected.steps.length > 0) return;
    this.#fetched = fetched;
    this.#isReady = false;
    const before = this.#selected.typesOnly;
    this.#selected = selectSteps(this.#all, outputs, this.#decisive);
    const { steps, typesOnly } = this.#selected;
    for (const step of steps) {
      // How it runs is worked out with its types.
      if (step.kind === "node" && before.has(step) !== typesOnly.has(step)) step.inferred = -1;
    }
  }

  /** Works out types from `start` on, as far as they do not depend on what is yet to be computed. */
  #infer(start: number, run: number): { stop: number; touched: NodeStep[] } {
    const touched: NodeStep[] = [];
    const steps = this.#selected.steps;
    for (let index = start; index < steps.length; index++) {
      const step = steps[index];
      if (step.kind === "segment") {
        // Its outputs have the types of an earlier run; those of this one are known only afterwards.
        if (index > start) return { stop: index, touched };
        for (const value of step.outputs) value.type = undefined;
        continue;
      }
      let isStale = step.inferred < 0 || step.readsContents;
      for (const value of step.inputs) {
        if (!value) continue;
        if (value.type === undefined) return { stop: index, touched };
        if (value.changed > step.inferred) isStale = true;
      }
      if (!isStale) continue;
      const inputs = step.inputs.map((value) => value?.inferInput());
      const isDone = evaluateTypes(step, inputs, run, (input) => {
        step.readsContents = true;
        const value = step.inputs[input];
        const given = value && this.#given.get(value);
        if (value && !given && !this.#decisive.has(value)) {
          this.#decisive.add(value);
          this.#fetched = "";
        }
        return given ?? (index === start ? this.#read(value) : undefined);
      });
      if (!isDone) return { stop: index, touched };
      if (this.#selected.typesOnly.has(step)) doNothing(step);
      step.inferred = run;
      touched.push(step);
    }
    return { stop: steps.length, touched };
  }

  /**
   * True when every value still fits into the memory it was given: the plan was made for size classes, so most tokens
   * of a decoder need no new one.
   */
  #keepsPlan(touched: readonly NodeStep[]): boolean {
    const fits = (value: Value) =>
      value.storage?.kind === "arena" && value.bytes <= value.storage.bytes;
    for (const value of this.#feeds) {
      if (!this.#carried.isPast(value) && this.#selected.lastUses.has(value) && !fits(value))
        return false;
    }
    for (const step of touched) {
      if (step.mode !== step.planned) return false;
      if (this.#aliases.has(step) || this.#selected.typesOnly.has(step)) continue;
      for (const value of step.outputs) {
        if (!value?.type || this.#carried.isPresent(value)) continue;
        if (value.known ? value.storage?.kind === "arena" : !fits(value)) return false;
      }
      // An operand whose memory the output took over may broadcast now: then it would be overwritten while it is read.
      const output = step.outputs[0];
      const isOvertaken = (input: Value | undefined) =>
        input?.storage?.kind === "arena" && input.storage === output?.storage;
      const grows = (input: Value | undefined) =>
        isOvertaken(input) && input?.bytes !== output?.bytes;
      if (step.inputs.some(grows)) return false;
      if (workspaceBytes(step) > (step.workspace?.bytes ?? 0)) return false;
    }
    return true;
  }

  /** Fills the tasks of the steps whose shapes or addresses have changed, with the plan as it is. */
  #rebind(touched: readonly NodeStep[], run: number): void {
    if (this.#carried.isEmpty && touched.length === 0) {
      if (this.#boundVersion !== this.#engine.version)
        this.#bind(0, this.#selected.steps.length, run);
      return;
    }
    this.#carried.place(run);
    for (const { inputs, outputs } of this.#aliases) {
      if (outputs[0]) outputs[0].storage = inputs[0]?.storage;
    }
    this.#uploadKnown(touched, run);
    if (this.#boundVersion !== this.#engine.version) {
      this.#bind(0, this.#selected.steps.length, run);
      return;
    }
    for (const step of touched) {
      if (step.mode !== "nothing") this.#bindStep(step, this.#pointersOf(step), run);
    }
    const isMoved = (value: Value | undefined) =>
      value !== undefined && (this.#isAlias(value) || this.#carried.isMoved(value, run));
    for (const step of this.#findCarriers()) {
      if (step.mode === "nothing" || step.inferred === run) continue;
      if (step.inputs.some(isMoved) || step.outputs.some(isMoved)) {
        this.#bindStep(step, this.#pointersOf(step), run);
      }
    }
  }

  #isAlias(value: Value): boolean {
    for (const { outputs } of this.#aliases) if (outputs[0] === value) return true;
    return false;
  }

  #findCarriers(): readonly NodeStep[] {
    const isCarried = (value: Value | undefined) =>
      value !== undefined &&
      (this.#carried.isPast(value) || this.#carried.isPresent(value) || this.#isAlias(value));
    this.#carriers ??= this.#selected.steps.filter(
      (step): step is NodeStep =>
        step.kind === "node" && (step.inputs.some(isCarried) || step.outputs.some(isCarried)),
    );
    return this.#carriers;
  }

  /** A copy of a value that has been computed. */
  #read(value: Value | undefined): HostTensor | undefined {
    const view = value?.view(this.#engine.buffer, this.#arenaAddress);
    return view && { ...view, data: view.data.slice() };
  }

  #startPlan(run: number): void {
    this.#arena = new Arena();
    this.#aliases = new Set();
    this.#carriers = undefined;
    this.#carried.place(run);
    for (const value of this.#feeds) {
      if (this.#carried.isPast(value)) continue;
      const lastUse = this.#selected.lastUses.get(value);
      value.storage = lastUse === undefined ? undefined : this.#arena.take(value.bytes, lastUse);
    }
  }

  #plan(start: number, stop: number, run: number): void {
    const arena = this.#arena;
    for (let index = start; index < stop; index++) {
      const step = this.#selected.steps[index];
      if (step.kind === "node") this.#planNode(step, index, run);
      arena.finish(index);
    }
    this.#reserveArena();
    this.#uploadKnown(this.#selected.steps.slice(start, stop), run);
  }

  #uploadKnown(steps: readonly Step[], run: number): void {
    for (const step of steps) {
      for (const value of memoryInputs(step)) {
        if (!value.isConstant) uploadKnown(value, this.#engine, run);
      }
    }
  }

  #planNode(step: NodeStep, index: number, run: number): void {
    const arena = this.#arena;
    const { operator, inputs, outputs } = step;
    const first = inputs[0];
    step.planned = step.mode;
    step.workspace = undefined;
    if (this.#selected.typesOnly.has(step)) {
      for (const value of outputs) if (value) value.storage = undefined;
      return;
    }
    for (const [at, value] of outputs.entries()) {
      if (!value?.type) continue;
      if (value.known) {
        // Memory of an earlier plan, in which it was computed; who reads it in memory gets an upload.
        if (value.storage?.kind === "arena") value.storage = undefined;
        continue;
      }
      const lastUse = this.#selected.lastUses.get(value) ?? index;
      if (this.#carried.isPresent(value) && !operator.alias) {
        this.#carried.placePresent(value, run);
        continue;
      }
      const shared =
        operator.alias && at === 0 ? first?.storage : this.#takenOver(step, value, at, index);
      if (shared) {
        value.storage = shared;
        if (shared.kind === "arena") arena.extend(shared, lastUse);
        else this.#aliases.add(step);
      } else value.storage = arena.take(value.bytes, lastUse);
    }
    const bytes = workspaceBytes(step);
    if (bytes > 0) step.workspace = { ...arena.take(bytes, index) };
  }

  /** Memory of an input that output 0 may overwrite. */
  #takenOver({ operator, inputs }: NodeStep, value: Value, at: number, index: number) {
    if (at !== 0) return undefined;
    for (const input of operator.inPlace ?? []) {
      const source = inputs[input];
      const storage = source?.storage;
      if (!storage || source.known || storage.kind !== "arena") continue;
      if (storage.lastUse === index && source.bytes === value.bytes) return storage;
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

  #bind(start: number, stop: number, run: number): void {
    const moved = this.#boundVersion !== this.#engine.version;
    for (let index = start; index < stop; index++) {
      const step = this.#selected.steps[index];
      if (step.kind === "segment" || step.mode === "nothing") continue;
      const bound = this.#bound.get(step);
      const pointers = this.#pointersOf(step);
      const isSame =
        bound?.pointers.every((pointer, at) => pointer === pointers[at]) &&
        [...step.inputs, ...step.outputs].every((value) => !value || value.changed <= bound.run);
      if (isSame && !(moved && step.mode === "compute")) continue;
      this.#bindStep(step, pointers, run);
    }
    this.#boundVersion = this.#engine.version;
  }

  #pointersOf({ inputs, outputs, workspace }: NodeStep): readonly number[] {
    const arena = this.#arenaAddress;
    const pointers = [...inputs, ...outputs].map((value) =>
      value?.storage ? addressOf(value.storage, arena) : 0,
    );
    pointers.push(workspace ? arena + workspace.offset : 0);
    return pointers;
  }

  #bindStep(step: NodeStep, pointers: readonly number[], run: number): void {
    this.#bound.set(step, { pointers, run });
    bindStep(step, this.#engine, this.#arenaAddress, pointers[pointers.length - 1]);
  }

  #copyFeeds(feeds: readonly (HostTensor | undefined)[]): void {
    for (const [index, value] of this.#feeds.entries()) {
      const feed = feeds[index];
      if (feed) value.view(this.#engine.buffer, this.#arenaAddress)?.data.set(feed.data);
    }
  }

  async #execute(start: number, stop: number): Promise<void> {
    for (let index = start; index < stop; index++) {
      const step = this.#selected.steps[index];
      if (step.kind === "node") step.execute();
      else await this.#executeSegment(step, index);
    }
  }

  async #executeSegment(step: SegmentStep, index: number): Promise<void> {
    const results = await runSegment(step, this.#engine.buffer, this.#arenaAddress);
    for (const [value, { dtype, shape, data }] of results) {
      value.assign({ dtype, shape }, undefined, this.#run);
      value.changed = this.#run;
      value.storage = this.#arena.take(value.bytes, this.#selected.lastUses.get(value) ?? index);
      this.#reserveArena();
      const view = value.view(this.#engine.buffer, this.#arenaAddress);
      invariant(view?.data.length === elementCount(shape), `segment output ${value.name}`);
      view.data.set(data);
    }
  }
}
