/**
 * Durable timers: a command of an entity that is to run once, at or after its due time.
 *
 * A1  A timer fires only after the batch that set it is durable, and its removal stands in the same entry as the effects of
 *     its command: so it takes hold once.
 * A2  What is in memory is a window of the nearest timers; later ones stay in the store (G9), also where any number of them
 *     is due at one moment. Entries in memory may be stale, since the entity's own record decides when one fires; none may be
 *     missing up to the horizon. As many as a window, and so many bytes of inputs, are on their way to the log at once.
 * A3  What fires is the timer as it was set last: the store's record counts only where no later batch has changed it.
 * A4  An alarm that went off, or was passed over for a change that is not durable, comes back if that is dropped.
 * A5  A timer of a kind that the system no longer has, or of an entity that is out of reach, waits for another life of the node.
 */
import { equalBytes } from "../base/bytes.ts";
import { OnefoldError, type Refused } from "../base/errors.ts";
import { decodeValue } from "../base/value.ts";
import type { Timer } from "../host/host.ts";
import { storedRecords, type TimerEffect, type TimerRecord } from "./batch.ts";
import type { DurableBatch } from "./committer.ts";
import type { Core, EntryDraft } from "./core.ts";
import { takeInDead } from "./dead-letters.ts";
import { EntityCommand } from "./entity-command.ts";
import { decodeDueTimer } from "./fold.ts";
import {
  afterPrefix,
  type BinaryString,
  binaryOfBytes,
  bytesOfBinary,
  keys,
  parseEntityName,
  readUint64,
} from "./keys.ts";
import { isOutOfReach } from "./out-of-reach.ts";
import type { CommandResult } from "./run-command.ts";
import type { LiveEntity } from "./working-set.ts";

interface Alarm {
  /** Its key in the store's index, which has all timers in order: by due time, then by slot, entity and key. */
  readonly at: BinaryString;
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
  /** In order of `at`. */
  #alarms: Alarm[] = [];
  /** Timers behind this place of the index are not in memory; undefined where all are. */
  #horizon: BinaryString | undefined;
  /** Gone off, or passed over (A4), and not known to be done durably. */
  readonly #firing = new Map<string, Firing>();
  #firingBytes = 0;
  /** Kinds of which it was said that their timers wait (A5). */
  readonly #kindsThatWait = new Set<string>();
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

  /** Timers that it knows of just now, wherever they are in their course: A2 bounds them. */
  get inMemoryCount(): number {
    return this.#alarms.length + this.#firing.size + this.#early.length + (this.#meanwhile?.length ?? 0);
  }

  load(): void {
    this.#alarms = [];
    this.#readBehind(keys.table("timerDue"));
  }

  /** Reads the next window of the index, and moves the horizon. */
  #readBehind(place: BinaryString): void {
    const range = {
      // The least key behind it.
      from: bytesOfBinary(`${place}\0`),
      to: bytesOfBinary(afterPrefix(keys.table("timerDue"))),
      limit: this.#windowMax,
    };
    let last: BinaryString | undefined;
    let count = 0;
    for (const { key, value } of this.#core.store.range(range)) {
      last = binaryOfBytes(key);
      this.#insert({ at: last, dueMs: readUint64(last, 1), ...decodeDueTimer(value) });
      count++;
    }
    this.#horizon = count < this.#windowMax ? undefined : last;
  }

  #isBehindHorizon({ at }: Alarm): boolean {
    return this.#horizon !== undefined && at > this.#horizon;
  }

  #insert(alarm: Alarm): void {
    let low = 0;
    let high = this.#alarms.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#alarms[middle]!.at <= alarm.at) low = middle + 1;
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
          this.#settle(idOf(name, key));
          if (timer !== null) this.#set(alarmOf(timer.dueMs, slot, name, key));
        }
      }
    }
    if (isChanged) this.#arm();
  }

  #set(alarm: Alarm): void {
    if (this.#isBehindHorizon(alarm)) {
      // The next window may be read too early for it to be in there.
      this.#meanwhile?.push(alarm);
      return;
    }
    this.#insert(alarm);
    this.#narrow();
  }

  /** Leaves to the store again what is beyond a window; not while the next one is read, which begins at the horizon. */
  #narrow(): void {
    if (this.#alarms.length < 2 * this.#windowMax || this.#meanwhile !== undefined) return;
    this.#alarms.length = this.#windowMax;
    this.#horizon = this.#alarms.at(-1)!.at;
  }

  /** It is not on its way any more. */
  #settle(id: string): void {
    const firing = this.#firing.get(id);
    if (firing === undefined) return;
    this.#firing.delete(id);
    this.#firingBytes -= firing.sizeBytes;
  }

  /** It is on its way, and whatever was under the same key is not. */
  #setFiring(id: string, alarm: Alarm, sizeBytes: number): void {
    this.#settle(id);
    this.#firing.set(id, { alarm, sizeBytes });
    this.#firingBytes += sizeBytes;
  }

  /** What was not durable is gone: alarms that had gone off go off again. */
  dropped(): void {
    for (const { alarm } of this.#firing.values()) this.#insert(alarm);
    this.#firing.clear();
    this.#firingBytes = 0;
    this.#arm();
  }

  #arm(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    // While as many as may be are on their way, the next ones wait for their end: it arms the clock again (A2).
    if (this.#isStopped || this.#isBusy) return;
    const next = this.#alarms[0];
    if (next === undefined) {
      if (this.#horizon !== undefined && this.#meanwhile === undefined) this.#readOn();
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

  get #isBusy(): boolean {
    return this.#firing.size >= this.#windowMax || this.#firingBytes >= this.#core.limits.timersFiringBytesMax;
  }

  /** By log time, which its command will see: a batch that is open keeps the time at which it was opened. */
  #isDue({ dueMs }: Alarm): boolean {
    return dueMs <= this.#core.committer.timeMs;
  }

  #ring(): void {
    let count = 0;
    try {
      while (!this.#isBusy && count < this.#alarms.length && this.#isDue(this.#alarms[count]!)) {
        const alarm = this.#alarms[count++]!;
        const id = idOf(alarm.name, alarm.key);
        if (this.#firing.get(id)?.alarm.dueMs === alarm.dueMs) continue;
        this.#fire(alarm, id);
      }
    } finally {
      // All at once: to take thousands from the front one by one is to move the others thousands of times.
      this.#alarms.splice(0, count);
    }
    this.#arm();
  }

  #fire(alarm: Alarm, id: string): void {
    const { tenant, kind, id: entityId } = parseEntityName(alarm.name);
    const definition = this.#core.definitionOf(kind);
    if (definition === undefined) {
      const message = "Timers are due of a kind that the system no longer has; they will fire when the kind is back.";
      return this.#leave(message, kind, entityId);
    }
    // By the slot that the alarm names: the affinity function is user code, and the watchdog is off here.
    const entity = this.#core.entityAt(definition, alarm.slot, tenant, entityId);
    if (isOutOfReach(entity)) {
      const message =
        "Timers are due of entities that newer code has written, or that are in quarantine; they will fire when that is over.";
      return this.#leave(message, kind, entityId);
    }
    const changedAt = entity.timerSequences.get(alarm.key);
    if (entity.timers().get(alarm.key) !== alarm.dueMs || this.#isSpeculative(changedAt)) {
      return this.#passOver(alarm, id, entity);
    }
    if (changedAt !== undefined) return this.#catchUp(alarm);
    const bytes = this.#core.store.get(timerKey(alarm));
    if (bytes === undefined) throw new OnefoldError("damaged", "The store does not hold a timer that its entity has.");
    const timer = storedRecords.decodeTimer(bytes);
    this.#setFiring(id, alarm, bytes.length);
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

  /** A5: it stays in the store for another life. */
  #leave(message: string, kind: string, id: string): void {
    if (this.#kindsThatWait.has(kind)) return;
    this.#kindsThatWait.add(kind);
    this.#core.host.trace("warn", message, { kind, firstId: id });
  }

  #isSpeculative(sequence: number | undefined): boolean {
    return sequence !== undefined && sequence > this.#core.committer.durable.sequence;
  }

  /** The timer is another one by now, or none: that one has its own alarm, once it is durable. */
  #passOver(alarm: Alarm, id: string, entity: LiveEntity | undefined): void {
    if (this.#isSpeculative(entity?.timerSequences.get(alarm.key))) this.#setFiring(id, alarm, 0);
    else if (this.#firing.get(id)?.alarm === alarm) this.#settle(id);
    if (this.#isStopped) return;
    // Perhaps it was one too many, or the last of a window. In a turn of its own, since the clock may be in the middle of it.
    this.#timer ??= this.#core.host.timers.after(0, () => this.#unlessDamaged(() => this.#ring()));
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
      const message = "Timers that are due have to wait, because the store can't be written. Free space on its disk.";
      this.#core.host.trace("error", message, { cause });
      this.#core.host.timers.after(catchUpDelayMs, again);
    });
  }

  #readOn(): void {
    const from = this.#horizon!;
    const meanwhile: Alarm[] = [];
    this.#meanwhile = meanwhile;
    this.#flush().then(
      () => {
        this.#meanwhile = undefined;
        if (this.#isStopped) return;
        this.#unlessDamaged(() => {
          this.#readBehind(from);
          for (const alarm of meanwhile) if (!this.#isBehindHorizon(alarm)) this.#insert(alarm);
          this.#narrow();
        });
        this.#arm();
      },
      (cause: unknown) => {
        this.#meanwhile = undefined;
        const message = "Timers can't be read on for now, because the store can't be written. Free space on its disk.";
        this.#core.host.trace("error", message, { cause });
        this.#core.host.timers.after(catchUpDelayMs, () => this.#arm());
      },
    );
  }
}

interface Firing {
  readonly alarm: Alarm;
  /** What its input takes in memory. */
  readonly sizeBytes: number;
}

function alarmOf(dueMs: number, slot: number, name: BinaryString, key: string): Alarm {
  return { at: keys.timerDue(dueMs, slot, name, key), dueMs, slot, name, key };
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
      slot: alarm.slot,
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
    const draft = { ...this.#base(), effects: this.effects(unchanged, entity) };
    takeInDead(this.core, draft, { slot, tenant, kind, id, command, input }, error);
  }

  override release(): void {
    // Nobody waits for it.
  }

  protected override refuse(): void {
    this.isSettled = true;
  }
}
