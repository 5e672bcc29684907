/**
 * Runs one command or query of one entity: user code in, effects out. Nothing here changes what others can see.
 *
 * C1  A command that throws, is stopped, or leaves something that can't be kept has no effect: its draft is thrown away and
 *     decoded anew when next needed, so the good path copies nothing.
 * C2  A command costs what it touches: the root state, and the items that it reads and writes.
 * C3  What goes out (output, state, items, messages) was encoded before the command counts as done: it shares no memory
 *     with user code.
 * C4  A query can't change anything: it gets frozen copies.
 */
import { equalBytes } from "../base/bytes.ts";
import { OnefoldError } from "../base/errors.ts";
import { parseId, slotOfEntity } from "../base/ids.ts";
import type { Limits } from "../base/limits.ts";
import { containsMutable, decodeValue, deepFreezeValue, encodeValue, type Value } from "../base/value.ts";
import type { CallSubject, Guard, Random } from "../host/host.ts";
import type { EntityEffect, ItemEffect, MessageRecord, TimerEffect, TimerRecord } from "./batch.ts";
import { touchThresholdBytes } from "./batch.ts";
import { LiveCollection } from "./collection.ts";
import type { CommandDefinition, EntityDefinition, EntityHandle, QueryDefinition } from "./definition.ts";
import type { EntityView } from "./entity-view.ts";
import { failureOf, withoutClaimOfDamage } from "./failure.ts";
import { ItemOverlay } from "./item-overlay.ts";
import { quarantined } from "./out-of-reach.ts";
import type { Principal } from "./service.ts";
import { validate } from "./validate.ts";

export interface Surroundings {
  readonly nowMs: number;
  readonly caller: Principal;
  readonly random: Random;
  readonly guard: Guard;
  readonly limits: Limits;
  readonly definitionOf: (kind: string) => EntityDefinition | undefined;
}

/** A message before it has a number. */
export type UnnumberedMessage = Omit<MessageRecord, "number">;

export interface CommandResult {
  /** A fresh value, already encoded if it is more than a number. */
  readonly output: Value | undefined;
  readonly outputBytes: Uint8Array | undefined;
  /** The encoded state after it; undefined if it is the same as before; null if the entity ended. */
  readonly state: Uint8Array | null | undefined;
  readonly draft: object | undefined;
  readonly items: readonly ItemEffect[];
  readonly timers: readonly TimerEffect[];
  readonly messages: readonly UnnumberedMessage[];
}

const noItems: readonly ItemEffect[] = [];
const noTimers: readonly TimerEffect[] = [];
const noMessages: readonly UnnumberedMessage[] = [];

/** The decoded, migrated state. Throws `unsupported-version` if a newer version of the system wrote it. */
function decodeState(definition: EntityDefinition, state: Uint8Array | null, schemaVersion: number): object {
  let value: Value;
  if (state === null) {
    // Through the codec, so that a system whose `initial` hands out one object over and over does no harm.
    value = decodeValue(encodeValue(definition.initial()));
  } else {
    if (schemaVersion > definition.schemaVersion) {
      throw new OnefoldError(
        "unsupported-version",
        `This ${definition.name} was written by version ${schemaVersion} of its schema; the running code knows ${definition.schemaVersion}. Deploy the newer code.`,
      );
    }
    value = decodeValue(state);
    for (let version = schemaVersion; version < definition.schemaVersion; version++) {
      value = definition.migrations[version - 1]!(value as never);
    }
  }
  return value as object;
}

/**
 * Throws what `failureOf` makes of what the user's code threw or left behind. `view.draft` is gone then, and also if it is
 * stopped.
 */
export function runCommand(
  view: EntityView,
  command: CommandDefinition,
  input: unknown,
  surroundings: Surroundings,
): CommandResult {
  const { live } = view;
  if (live.isQuarantined) throw quarantined(live.kind, live.id);
  const what = `${live.definition.name}.${command.name}`;
  // As `callUserCode`, with a closure fewer: this is what everything waits for.
  const code = (): CommandResult => {
    try {
      return commandResult(what, view, command, input, surroundings);
    } catch (error) {
      throw failureOf(error, what);
    }
  };
  return surroundings.guard.call(surroundings.limits.commandMs, code, { entity: live.name, what: command.name });
}

/** Under the watchdog, as all user code; `subject` is who is to be suspected of it. Throws `failureOf` what it throws. */
export function callUserCode<R>(
  { guard, limits }: Pick<Surroundings, "guard" | "limits">,
  what: string,
  code: () => R,
  subject?: CallSubject,
): R {
  const guarded = (): R => {
    try {
      return code();
    } catch (error) {
      throw failureOf(error, what);
    }
  };
  return guard.call(limits.commandMs, guarded, subject);
}

function commandResult(
  what: string,
  view: EntityView,
  command: CommandDefinition,
  input: unknown,
  surroundings: Surroundings,
): CommandResult {
  const { limits } = surroundings;
  const { definition } = view.live;
  const checked = checkInput(command.input, input, what);
  const draft = view.draft ?? decodeState(definition, view.state, view.schemaVersion);
  view.draft = undefined;
  const context = new RunningCommand(view, surroundings);
  const output = runBody(what, command, { state: draft, input: checked, context });
  const outputBytes = isSurelySmall(output)
    ? undefined
    : encodeLimited(output, limits.outputBytesMax, "the output of", what);

  if (context.deleted) {
    const timers = [...surroundings.guard.own(() => view.timers())].map(([key, previousDueMs]) => ({
      key,
      timer: null,
      previousDueMs,
    }));
    return {
      output: isolated(output, outputBytes),
      outputBytes,
      state: null,
      draft: undefined,
      items: noItems,
      timers,
      messages: context.messages,
    };
  }
  const encoded = encodeLimited(draft, limits.stateBytesMax, "the state of", definition.name);
  const isSame =
    view.state !== null && view.schemaVersion === definition.schemaVersion && sameBytes(encoded, view.state);
  if (!isSame) validate(definition.state, draft, { what: `the state after ${what}`, code: "invalid-state" });
  return {
    output: isolated(output, outputBytes),
    outputBytes,
    state: isSame ? undefined : encoded,
    draft,
    items: context.itemEffects(),
    timers: context.timerEffects(),
    messages: context.messages,
  };
}

/** Runs the user's function. What it gives is a value by its type alone; nothing of it has been checked but that it is here. */
function runBody(
  what: string,
  { run }: CommandDefinition | QueryDefinition,
  { state, input, context }: { readonly state: object; readonly input: unknown; readonly context: Running },
): Value | undefined {
  let returned: unknown;
  try {
    returned = run(state as never, input as never, context as never);
  } catch (error) {
    throw withoutClaimOfDamage(error, what);
  } finally {
    context.end();
  }
  if (returned instanceof Promise) {
    // Its outcome is of no interest: it was refused. Without a handler its failure would end the process.
    returned.then(undefined, () => undefined);
    throw new OnefoldError("command-failed", `${what} returned a promise; commands and queries are synchronous.`);
  }
  return returned as Value | undefined;
}

function checkInput(schema: CommandDefinition["input"], input: unknown, what: string): unknown {
  if (schema !== undefined) return validate(schema, input, { what: `the input of ${what}` });
  if (input === undefined || input === null) return undefined;
  throw new OnefoldError("invalid-input", `${what} takes no input.`, {
    details: { issues: [{ path: [], message: "no input is expected" }] },
  });
}

/** Up to here a loop is taken to be cheaper than a native call; an estimate. */
const loopBytesMax = 64;

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length > loopBytesMax ? Buffer.compare(a, b) === 0 : equalBytes(a, b);
}

/** `part` and `of` say what it is, for the message. */
function encodeLimited(value: unknown, bytesMax: number, part: string, of: string): Uint8Array {
  const bytes = encodeValue(value);
  if (bytes.length > bytesMax) {
    throw new OnefoldError("too-large", `${part} ${of} would be ${bytes.length} bytes; the limit is ${bytesMax}.`, {
      details: { bytes: bytes.length, bytesMax },
    });
  }
  return bytes;
}

function isolated(output: Value | undefined, bytes: Uint8Array | undefined): Value | undefined {
  return typeof output !== "object" || output === null ? output : decodeValue(bytes!);
}

export interface QueryResult {
  readonly output: Value | undefined;
}

/** Runs a query on a frozen copy of the state that `view` shows. Throws as `runCommand` does. */
export function runQuery(
  view: EntityView,
  query: QueryDefinition,
  input: unknown,
  surroundings: Surroundings,
): QueryResult {
  const { live } = view;
  if (live.isQuarantined) throw quarantined(live.kind, live.id);
  const what = `${live.definition.name}.${query.name}`;
  const subject = { entity: live.name, what: query.name };
  return callUserCode(surroundings, what, () => queryResult(what, view, query, input, surroundings), subject);
}

function queryResult(
  what: string,
  view: EntityView,
  query: QueryDefinition,
  input: unknown,
  surroundings: Surroundings,
): QueryResult {
  const { live } = view;
  const checked = checkInput(query.input, input, what);
  const isShared = view === live;
  let state = isShared ? live.frozen : undefined;
  if (state === undefined) {
    state = decodeState(live.definition, view.state, view.schemaVersion);
    if (!containsMutable(state as Value)) {
      deepFreezeValue(state as Value);
      if (isShared) live.frozen = state;
    }
  }
  const context = new RunningQuery(view, surroundings);
  const output = runBody(what, query, { state, input: checked, context });
  if (typeof output !== "object" || output === null) {
    if (!isSurelySmall(output)) encodeLimited(output, surroundings.limits.outputBytesMax, "the output of", what);
    return { output };
  }
  // A record's own read gives all of it: what that is encoded as is known, and no larger than an output may be.
  const isState = output === state && Object.isFrozen(state) && view.schemaVersion === live.definition.schemaVersion;
  const encoded = isState ? view.state : null;
  return {
    output: decodeValue(encoded ?? encodeLimited(output, surroundings.limits.outputBytesMax, "the output of", what)),
  };
}

/** Needs no encoding to be known as a value of allowed size. */
function isSurelySmall(output: Value | undefined): boolean {
  return output === undefined || (typeof output === "number" && Number.isFinite(output));
}

/** The raw state, decoded and migrated. Throws `not-found`. */
export function readState(view: EntityView, surroundings: Pick<Surroundings, "guard" | "limits">): Value {
  const { live, state } = view;
  if (state === null) throw new OnefoldError("not-found", `There is no ${live.kind} '${live.id}'.`);
  if (live.isQuarantined) throw quarantined(live.kind, live.id);
  const decode = () => decodeState(live.definition, state, view.schemaVersion) as Value;
  return callUserCode(surroundings, `a migration of ${live.kind}`, decode, { entity: live.name, what: "migration" });
}

// ------------------------------------------------------------------------------------------------------------ effects

/**
 * The effect of a command on the entity that `view` shows; undefined if it changed nothing of it. `previousSequence` links
 * it into the entity's history.
 */
export function effectOf(view: EntityView, result: CommandResult): EntityEffect | undefined {
  const { live } = view;
  const exists = view.state !== null;
  if (exists && result.state === undefined && result.items.length === 0 && result.timers.length === 0) return undefined;
  let state = result.state;
  if (state === undefined && view.state !== null && view.state.length <= touchThresholdBytes) state = view.state;
  return {
    slot: live.slot,
    tenant: live.tenant,
    kind: live.kind,
    id: live.id,
    name: live.name,
    generation: exists ? view.generation : view.generation + 1,
    version: exists ? view.version + 1 : 1,
    isBirth: !exists,
    // A state that is written again as it is stays of the version that it was written in (G11).
    schemaVersion: result.state === undefined ? view.schemaVersion : live.definition.schemaVersion,
    previousSequence: live.lastSequence,
    state,
    items: result.items,
    timers: result.timers,
  };
}

// ------------------------------------------------------------------------------------------------------------ context

const ended = () =>
  new OnefoldError("command-failed", "A command's context was used after the command had returned; don't keep it.");

abstract class Running {
  readonly view: EntityView;
  protected readonly surroundings: Surroundings;
  #collections: Readonly<Record<string, LiveCollection>> | undefined = undefined;
  #isOver = false;
  #damage: OnefoldError | undefined = undefined;

  constructor(view: EntityView, surroundings: Surroundings) {
    this.view = view;
    this.surroundings = surroundings;
  }

  get id(): string {
    return this.view.live.id;
  }
  get tenant(): string {
    return this.view.live.tenant;
  }
  get now(): number {
    return this.surroundings.nowMs;
  }
  get caller(): Principal {
    return this.surroundings.caller;
  }

  get collections(): Readonly<Record<string, LiveCollection>> {
    this.#collections ??= this.makeCollections();
    return this.#collections;
  }

  protected abstract changesOf(collection: string): ItemOverlay | undefined;

  private makeCollections(): Readonly<Record<string, LiveCollection>> {
    const collections: Record<string, LiveCollection> = Object.create(null);
    for (const definition of this.view.live.definition.collections.values()) {
      collections[definition.name] = new LiveCollection({
        view: this.view,
        definition,
        limits: this.surroundings.limits,
        guard: this.surroundings.guard,
        changes: this.changesOf(definition.name),
        assertUsable: () => this.assertUsable(),
        noteFailure: (error) => this.noteFailure(error),
      });
    }
    return collections;
  }

  protected assertUsable(): void {
    if (this.#isOver) throw ended();
  }

  /** Damage is remembered: user code may catch it, and must not go on from what it could not read. */
  protected noteFailure(error: unknown): unknown {
    if (error instanceof OnefoldError && error.code === "damaged") this.#damage ??= error;
    return error;
  }

  /** Nothing that it was given may be used any more. Throws `damaged` where it met stored data that is. */
  end(): void {
    this.#isOver = true;
    if (this.#damage !== undefined) throw this.#damage;
  }
}

class RunningQuery extends Running {
  protected override changesOf(): undefined {
    return undefined;
  }
}

class RunningCommand extends Running {
  messages: readonly UnnumberedMessage[] = noMessages;
  deleted = false;
  #changes: Map<string, ItemOverlay> | undefined = undefined;
  #timers: Map<string, TimerRecord | null> | undefined = undefined;
  /** How many timers the entity would have more than before, if the command ended now. */
  #timerGrowth = 0;

  protected override changesOf(collection: string): ItemOverlay {
    this.#changes ??= new Map();
    let changes = this.#changes.get(collection);
    if (changes === undefined) {
      changes = new ItemOverlay();
      this.#changes.set(collection, changes);
    }
    return changes;
  }

  // Functions by getters, so that a command may take its context apart (`{ send, after }`) and nobody else pays for that.

  get random() {
    return (): number => {
      this.assertUsable();
      return this.surroundings.random.next();
    };
  }

  get newId() {
    return (): string => this.#newId();
  }

  get send() {
    return (entity: EntityHandle, id: string, command: string, input?: unknown): void =>
      this.#send(entity, id, command, input);
  }

  get after() {
    return (delayMs: number, command: string, input?: unknown, options?: { readonly key?: string }): void =>
      this.#after(delayMs, command, input, options);
  }

  get cancelTimer() {
    return (key: string): void => this.#cancelTimer(key);
  }

  get delete() {
    return (): void => {
      this.assertUsable();
      this.deleted = true;
    };
  }

  #newId(): string {
    this.assertUsable();
    return Buffer.from(this.surroundings.random.bytes(16)).toString("base64url");
  }

  #send(entity: EntityHandle, id: string, command: string, input?: unknown): void {
    this.assertUsable();
    const { limits, definitionOf, caller } = this.surroundings;
    const target = entity.definition;
    if (definitionOf(target.name) !== target) {
      throw new OnefoldError("unknown-kind", `The system has no entity kind ${target.name}; add it to system(...).`);
    }
    const definition = target.commands.get(command);
    if (definition === undefined) {
      throw new OnefoldError("unknown-command", `${target.name} has no command ${command}.`);
    }
    checkInput(definition.input, input, `${target.name}.${command}`);
    if (this.messages.length >= limits.messagesPerCommandMax) {
      throw new OnefoldError("too-large", `A command may send ${limits.messagesPerCommandMax} messages at most.`);
    }
    const message: UnnumberedMessage = {
      fromSlot: this.view.live.slot,
      toSlot: slotOfEntity(target, parseId(id), this.tenant),
      tenant: this.tenant,
      kind: target.name,
      id,
      command,
      input: encodeLimited(input ?? null, limits.itemBytesMax, "the input of", `${target.name}.${command}`),
      subject: caller.subject,
    };
    if (this.messages === noMessages) this.messages = [message];
    else (this.messages as UnnumberedMessage[]).push(message);
  }

  #after(delayMs: number, command: string, input?: unknown, options: { readonly key?: string } = {}): void {
    this.assertUsable();
    const { limits, caller, nowMs } = this.surroundings;
    if (!Number.isFinite(delayMs) || delayMs < 0 || nowMs + delayMs > maxTimeMs) {
      throw new OnefoldError("invalid-value", "A timer's delay must be a number of milliseconds, 0 or more.");
    }
    const { definition } = this.view.live;
    const target = definition.commands.get(command);
    if (target === undefined) {
      throw new OnefoldError("unknown-command", `${definition.name} has no command ${command}.`);
    }
    checkInput(target.input, input, `${definition.name}.${command}`);
    const key = options.key === undefined ? `~${this.#newId()}` : parseId(options.key);
    if (!this.#hasTimer(key)) {
      if (this.#timerCount >= limits.timersPerCommandMax) {
        throw new OnefoldError("too-large", `An entity may have ${limits.timersPerCommandMax} timers at most.`);
      }
      this.#timerGrowth++;
    }
    this.#timers ??= new Map();
    this.#timers.set(key, {
      dueMs: Math.ceil(nowMs + delayMs),
      command,
      input: encodeLimited(input ?? null, limits.itemBytesMax, "the input of", `${definition.name}.${command}`),
      subject: caller.subject,
    });
  }

  #cancelTimer(key: string): void {
    this.assertUsable();
    if (!this.#hasTimer(key)) return;
    this.#timerGrowth--;
    this.#timers ??= new Map();
    this.#timers.set(key, null);
  }

  /** Whether the entity would have such a timer if the command ended now. */
  #hasTimer(key: string): boolean {
    const changed = this.#timers?.get(key);
    if (changed !== undefined) return changed !== null;
    try {
      return this.#timersBefore().has(key);
    } catch (error) {
      throw this.noteFailure(error);
    }
  }

  get #timerCount(): number {
    return this.#timersBefore().size + this.#timerGrowth;
  }

  /** They may have to be read from the store. */
  #timersBefore(): ReadonlyMap<string, number> {
    return this.surroundings.guard.own(() => this.view.timers());
  }

  itemEffects(): readonly ItemEffect[] {
    if (this.#changes === undefined) return noItems;
    const effects: ItemEffect[] = [];
    for (const [collection, changes] of this.#changes) {
      for (const { key, value } of changes) effects.push({ collection, key, value });
    }
    return effects;
  }

  timerEffects(): readonly TimerEffect[] {
    if (this.#timers === undefined) return noTimers;
    const before = this.#timersBefore();
    const effects: TimerEffect[] = [];
    for (const [key, timer] of this.#timers) {
      const previousDueMs = before.get(key) ?? null;
      if (timer !== null || previousDueMs !== null) effects.push({ key, timer, previousDueMs });
    }
    return effects;
  }
}

/** The last time that a Date can hold (ECMA-262). */
const maxTimeMs = 8.64e15;
