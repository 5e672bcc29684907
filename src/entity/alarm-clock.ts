/**
 * Durable timers: a command of an entity that is to run once, at or after its due time.
 *
 * A1  A timer fires only after the batch that set it is durable, and its removal stands in the same entry as the effects of
 *     its command: so it takes hold once.
 * A2  What is in memory is a window of the nearest timers; later ones stay in the store (G9). Entries in memory may be stale,
 *     since the entity's own record decides when one fires; none may be missing below the horizon.
 * A3  What fires is the timer as it was set last: the store's record counts only where no later batch has changed it.
 * A4  An alarm that went off, or was passed over for a change that is not durable, comes back if that is dropped.
 */
import { equalBytes } from "../base/bytes.ts";
import { OnefoldError, type Refused } from "../base/errors.ts";
import { decodeValue } from "../base/value.ts";
import type { Timer } from "../host/host.ts";
import { storedRecords, type TimerEffect, type TimerRecord } from "./batch.ts";
import type { DurableBatch } from "./committer.ts";
import type { Core, EntryDraft } from "./core.ts";
import { EntityCommand } from "./entity-command.ts";
import { decodeDueTimer } from "./fold.ts";
import { afterPrefix, type BinaryString, bytesOfBinary, keys, parseEntityName, readUint64, uint64 } from "./keys.ts";
import type { CommandResult } from "./run-command.ts";
import type { LiveEntity } from "./working-set.ts";

interface Alarm {
  readonly dueMs: number;
  readonly slot: number;
  readonly name: BinaryString;
  readonly key: string;
}

/** How long timers wait for a store that can't be written. */
const catchUpDelayMs = 1000;

export class AlarmClock {
  readonly #core: Core;
  /** Applies everything durable to the store. */
  readonly #flush: () => Promise<void>;
  /** In order of due times. */
  #alarms: Alarm[] = [];
  /** Timers due after this are not in memory. */
  #horizonMs = Number.POSITIVE_INFINITY;
  /** Gone off, or passed over (A4), and not known to be done durably. */
  readonly #firing = new Map<string, Alarm>();
  /** Due, but the store has to catch up before they can fire. */
  #early: Alarm[] = [];
  #isCatchingUp = false;
  /** While the next window is read from the store: timers that were set meanwhile. */
  #meanwhile: Alarm[] | undefined;
  #timer: Timer | undefined;
  #isStopped = true;

  constructor(core: Core, flush: () => Promise<void>) {
    this.#core = core;
    this.#flush = flush;
  }

  get #windowMax(): number {
    return this.#core.limits.timerWindow;
  }

  load(): void {
    this.#alarms = [];
    this.#horizonMs = Number.POSITIVE_INFINITY;
    this.#read(0);
  }

  #read(fromMs: number): void {
    const prefix = keys.table("timerDue");
    const range = { from: bytesOfBinary(prefix + uint64(fromMs)), to: bytesOfBinary(afterPrefix(prefix)) };
    let count = 0;
    for (const { key, value } of this.#core.store.range(range)) {
      const dueMs = readUint64(Buffer.from(key).toString("latin1"), 1);
      // A window ends between two due times, so that the horizon divides what is in memory from what is not.
      if (count >= this.#windowMax && dueMs > this.#alarms.at(-1)!.dueMs) {
        this.#horizonMs = this.#alarms.at(-1)!.dueMs;
        return;
      }
      this.#insert({ dueMs, ...decodeDueTimer(value) });
      count++;
    }
  }

  #insert(alarm: Alarm): void {
    let low = 0;
    let high = this.#alarms.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#alarms[middle]!.dueMs <= alarm.dueMs) low = middle + 1;
      else high = middle;
    }
    this.#alarms.splice(low, 0, alarm);
  }

  start(): void {
    this.#isStopped = false;
    this.#arm();
  }

  stop(): void {
    this.#isStopped = true;
    this.#timer?.cancel();
  }

  durable(batch: DurableBatch): void {
    let isChanged = false;
    for (const entry of batch.entries) {
      for (const { slot, name, timers } of entry.effects) {
        for (const { key, timer } of timers) {
          isChanged = true;
          this.#firing.delete(idOf(name, key));
          if (timer !== null) this.#set({ dueMs: timer.dueMs, slot, name, key });
        }
      }
    }
    if (isChanged) this.#arm();
  }

  #set(alarm: Alarm): void {
    this.#meanwhile?.push(alarm);
    if (alarm.dueMs > this.#horizonMs) return;
    this.#insert(alarm);
    if (this.#alarms.length < 2 * this.#windowMax) return;
    const lastMs = this.#alarms[this.#windowMax - 1]!.dueMs;
    this.#alarms = this.#alarms.filter(({ dueMs }) => dueMs <= lastMs);
    this.#horizonMs = lastMs;
  }

  /** What was not durable is gone: alarms that had gone off go off again. */
  dropped(): void {
    for (const alarm of this.#firing.values()) this.#insert(alarm);
    this.#firing.clear();
    this.#arm();
  }

  #arm(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    if (this.#isStopped) return;
    const next = this.#alarms[0];
    if (next === undefined) {
      // Not while as many as a window are still on their way: what has fallen due must not fill the executor's queue (A2).
      const mayReadOn = this.#meanwhile === undefined && this.#firing.size < this.#windowMax;
      if (this.#horizonMs !== Number.POSITIVE_INFINITY && mayReadOn) this.#readOn();
      return;
    }
    // At most a minute ahead, so that a jump of the clock delays no timer for longer.
    const delayMs = this.#isDue(next) ? 0 : Math.min(60_000, Math.max(1, next.dueMs - this.#core.host.clock.wallMs()));
    this.#timer = this.#core.host.timers.after(delayMs, () => this.#unlessDamaged(() => this.#ring()));
  }

  #unlessDamaged(read: () => void): void {
    try {
      read();
    } catch (error) {
      if (!(error instanceof OnefoldError) || error.code !== "damaged") throw error;
      this.#core.onDamage(error);
    }
  }

  /** By log time, which its command will see: a batch that is open keeps the time at which it was opened. */
  #isDue({ dueMs }: Alarm): boolean {
    return dueMs <= this.#core.committer.timeMs;
  }

  #ring(): void {
    while (this.#alarms.length > 0 && this.#isDue(this.#alarms[0]!)) {
      const alarm = this.#alarms.shift()!;
      const id = idOf(alarm.name, alarm.key);
      if (this.#firing.get(id)?.dueMs === alarm.dueMs) continue;
      this.#fire(alarm, id);
    }
    this.#arm();
  }

  #fire(alarm: Alarm, id: string): void {
    const { tenant, kind, id: entityId } = parseEntityName(alarm.name);
    const definition = this.#core.definitionOf(kind);
    if (definition === undefined) {
      const message = "A timer is due of a kind that the system no longer has; it will fire when the kind is back.";
      this.#core.host.trace("warn", message, { kind, id: entityId, timer: alarm.key });
      return;
    }
    // By the slot that the alarm names: the affinity function is user code, and the watchdog is off here.
    const entity =
      this.#core.working.cached(alarm.name) ??
      this.#core.working.load(definition, alarm.slot, alarm.name, tenant, entityId);
    const changedAt = entity.timerSequences.get(alarm.key);
    if (entity.timers().get(alarm.key) !== alarm.dueMs || this.#isSpeculative(changedAt)) {
      return this.#passOver(alarm, id, entity);
    }
    if (changedAt !== undefined) return this.#catchUp(alarm);
    const bytes = this.#core.store.get(timerKey(alarm));
    if (bytes === undefined) throw new OnefoldError("damaged", "The store does not hold a timer that its entity has.");
    const timer = storedRecords.decodeTimer(bytes);
    this.#firing.set(id, alarm);
    const command = definition.commands.get(timer.command);
    this.#core.executor.resubmit(
      new Ring({
        core: this.#core,
        definition,
        command: command ?? { name: timer.command, input: undefined, run: missingCommand },
        tenant,
        id: entityId,
        alarm,
        bytes,
        timer,
        passOver: (live) => this.#passOver(alarm, id, live),
      }),
    );
  }

  #isSpeculative(sequence: number | undefined): boolean {
    return sequence !== undefined && sequence > this.#core.committer.durable.sequence;
  }

  /** The timer is another one by now, or none: that one has its own alarm, once it is durable. */
  #passOver(alarm: Alarm, id: string, entity: LiveEntity | undefined): void {
    if (this.#isSpeculative(entity?.timerSequences.get(alarm.key))) this.#firing.set(id, alarm);
    else if (this.#firing.get(id) === alarm) this.#firing.delete(id);
    if (this.#alarms.length === 0) this.#arm();
  }

  /** Brings the store up to date and looks again. While that can't be done (a full disk), again and again. */
  #catchUp(alarm: Alarm): void {
    this.#early.push(alarm);
    if (this.#isCatchingUp) return;
    this.#isCatchingUp = true;
    const again = () => {
      this.#isCatchingUp = false;
      for (const early of this.#early.splice(0)) this.#insert(early);
      this.#arm();
    };
    this.#flush().then(again, (cause: unknown) => {
      const message = "Timers that are due have to wait, because the store can't be written.";
      this.#core.host.trace("error", message, { cause });
      this.#core.host.timers.after(catchUpDelayMs, again);
    });
  }

  #readOn(): void {
    const from = this.#horizonMs;
    const meanwhile: Alarm[] = [];
    this.#meanwhile = meanwhile;
    this.#flush().then(
      () => {
        this.#meanwhile = undefined;
        if (this.#isStopped) return;
        this.#horizonMs = Number.POSITIVE_INFINITY;
        this.#unlessDamaged(() => this.#read(from));
        for (const alarm of meanwhile) if (alarm.dueMs <= this.#horizonMs) this.#insert(alarm);
        this.#arm();
      },
      (cause: unknown) => {
        this.#meanwhile = undefined;
        const message = "Timers can't be read on for now, because the store can't be written.";
        this.#core.host.trace("error", message, { cause });
        this.#core.host.timers.after(catchUpDelayMs, () => this.#arm());
      },
    );
  }
}

function timerKey({ slot, name, key }: Alarm): Uint8Array {
  return bytesOfBinary(keys.timer(slot, name, key));
}

function missingCommand(): never {
  throw new OnefoldError("unknown-command", "The system no longer has the command that the timer was to run.");
}

function idOf(name: BinaryString, key: string): string {
  return `${name}\0${key}`;
}

/** The command of a timer that is due. */
class Ring extends EntityCommand {
  readonly #alarm: Alarm;
  readonly #bytes: Uint8Array;
  readonly #timer: TimerRecord;
  readonly #passOver: (entity: LiveEntity | undefined) => void;

  constructor({
    alarm,
    bytes,
    timer,
    passOver,
    ...parts
  }: Pick<ConstructorParameters<typeof EntityCommand>[0], "core" | "definition" | "command" | "tenant" | "id"> & {
    readonly alarm: Alarm;
    /** The store's record of the timer, and the same decoded. */
    readonly bytes: Uint8Array;
    readonly timer: TimerRecord;
    readonly passOver: (entity: LiveEntity | undefined) => void;
  }) {
    super({
      ...parts,
      input: decodeValue(timer.input),
      caller: { tenant: parts.tenant, subject: timer.subject, scopes: [] },
      deadlineMs: Number.POSITIVE_INFINITY,
      sizeBytes: timer.input.length,
    });
    this.#alarm = alarm;
    this.#bytes = bytes;
    this.#timer = timer;
    this.#passOver = passOver;
  }

  /** Cancelled, replaced or fired since it was queued. */
  protected override isDone(entity: LiveEntity): boolean {
    if (this.#isStill(entity)) return false;
    this.isSettled = true;
    this.#passOver(entity);
    return true;
  }

  /** A3. A timer that was set anew may have the same due time, so its record is compared. */
  #isStill(entity: LiveEntity): boolean {
    const { key, dueMs } = this.#alarm;
    if (entity.timers().get(key) !== dueMs || entity.timerSequences.has(key)) return false;
    const bytes = this.core.store.get(timerKey(this.#alarm));
    return bytes !== undefined && equalBytes(bytes, this.#bytes);
  }

  get #removal(): TimerEffect {
    return { key: this.#alarm.key, timer: null, previousDueMs: this.#alarm.dueMs };
  }

  protected override entryOf(result: CommandResult, entity: LiveEntity): EntryDraft {
    const isSetAgain = result.timers.some(({ key }) => key === this.#alarm.key);
    const timers = isSetAgain ? result.timers : [...result.timers, this.#removal];
    return { ...this.#base(), effects: this.effects({ ...result, timers }, entity), messages: result.messages };
  }

  #base(): EntryDraft {
    return { origin: "timer", command: this.#timer.command, subject: this.#timer.subject };
  }

  protected override keptOf(): undefined {
    return undefined;
  }

  protected override succeeded(): void {
    this.isSettled = true;
  }

  /** Consumed all the same; what is left of it is a dead letter. */
  protected override failed(error: OnefoldError | Refused, _sequence: number, entity: LiveEntity | undefined): void {
    this.isSettled = true;
    if (entity === undefined || !entity.exists) return this.#passOver(entity);
    const unchanged: CommandResult = {
      output: undefined,
      outputBytes: undefined,
      state: undefined,
      draft: undefined,
      items: [],
      timers: [this.#removal],
      messages: [],
    };
    const { slot, tenant, kind, id } = entity;
    const { command, input } = this.#timer;
    const deadLetter = {
      slot,
      tenant,
      kind,
      id,
      command,
      input,
      code: error.code,
      detail: error.message.slice(0, 1000),
    };
    this.core.takeIn(this.core.entry({ ...this.#base(), effects: this.effects(unchanged, entity), deadLetter }));
  }

  override release(): void {
    // Nobody waits for it.
  }

  protected override refuse(): void {
    this.isSettled = true;
  }
}
