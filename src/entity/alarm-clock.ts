/**
 * Durable timers: a command of an entity that is to run once, at or after its due time.
 *
 * A1  A timer fires only after the batch that set it is durable, and its removal stands in the same entry as the effects of
 *     its command: so it takes hold once.
 * A2  What is in memory is a window of the nearest timers; later ones stay in the store (G9). Entries in memory may be stale,
 *     since the entity's own record decides when one fires; none may be missing below the horizon.
 */
import { OnefoldError, type Refused } from "../base/errors.ts";
import { decodeValue } from "../base/value.ts";
import type { Timer } from "../host/host.ts";
import { storedRecords, type TimerEffect, type TimerRecord } from "./batch.ts";
import type { DurableBatch } from "./committer.ts";
import type { Core, EntryDraft } from "./core.ts";
import { EntityCommand } from "./entity-command.ts";
import { decodeDueTimer, entriesWithPrefix } from "./fold.ts";
import { afterPrefix, type BinaryString, bytesOfBinary, keys, parseEntityName, readUint64, uint64 } from "./keys.ts";
import type { CommandResult } from "./run-command.ts";
import type { LiveEntity } from "./working-set.ts";

interface Alarm {
  readonly dueMs: number;
  readonly slot: number;
  readonly name: BinaryString;
  readonly key: string;
}

export class AlarmClock {
  readonly #core: Core;
  /** Applies everything durable to the store. */
  readonly #flush: () => Promise<void>;
  /** In order of due times. */
  #alarms: Alarm[] = [];
  /** Timers due after this are not in memory. */
  #horizonMs = Number.POSITIVE_INFINITY;
  readonly #firing = new Map<string, Alarm>();
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
          if (timer === null) this.#firing.delete(idOf(name, key));
          else this.#set({ dueMs: timer.dueMs, slot, name, key });
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
      if (this.#horizonMs !== Number.POSITIVE_INFINITY && this.#meanwhile === undefined) this.#readOn();
      return;
    }
    // At most a minute ahead, so that a jump of the clock delays no timer for longer.
    const delayMs = Math.min(60_000, Math.max(0, next.dueMs - this.#core.host.clock.wallMs()));
    this.#timer = this.#core.host.timers.after(delayMs, () => this.#ring());
  }

  #ring(): void {
    const now = this.#core.host.clock.wallMs();
    while (this.#alarms.length > 0 && this.#alarms[0]!.dueMs <= now) {
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
    const bytes = this.#core.store.get(bytesOfBinary(keys.timer(alarm.slot, alarm.name, alarm.key)));
    const entity = this.#core.entity(definition, tenant, entityId);
    // Set so lately that the store doesn't have it yet, or replaced, or gone: look again soon, or never.
    const timer = bytes === undefined ? undefined : storedRecords.decodeTimer(bytes);
    if (entity.timers().get(alarm.key) !== alarm.dueMs) return;
    if (timer === undefined || timer.dueMs !== alarm.dueMs) {
      this.#flush().then(
        () => {
          this.#insert(alarm);
          this.#arm();
        },
        (cause: unknown) =>
          this.#core.host.trace("error", "A timer could not be read, because the store can't be written.", { cause }),
      );
      return;
    }
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
        timer,
        forget: () => this.#firing.delete(id),
      }),
    );
  }

  #readOn(): void {
    const from = this.#horizonMs;
    const meanwhile: Alarm[] = [];
    this.#meanwhile = meanwhile;
    this.#flush().then(
      () => {
        this.#meanwhile = undefined;
        this.#horizonMs = Number.POSITIVE_INFINITY;
        this.#read(from);
        for (const alarm of meanwhile) if (alarm.dueMs <= this.#horizonMs) this.#insert(alarm);
        this.#arm();
      },
      (cause: unknown) => {
        this.#meanwhile = undefined;
        this.#core.host.trace("error", "Timers could not be read on, because the store can't be written.", { cause });
      },
    );
  }
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
  readonly #timer: TimerRecord;
  readonly #forget: () => void;

  constructor({
    alarm,
    timer,
    forget,
    ...parts
  }: Pick<ConstructorParameters<typeof EntityCommand>[0], "core" | "definition" | "command" | "tenant" | "id"> & {
    readonly alarm: Alarm;
    readonly timer: TimerRecord;
    readonly forget: () => void;
  }) {
    super({
      ...parts,
      input: decodeValue(timer.input),
      caller: { tenant: parts.tenant, subject: timer.subject, scopes: [] },
      deadlineMs: Number.POSITIVE_INFINITY,
      sizeBytes: timer.input.length,
    });
    this.#alarm = alarm;
    this.#timer = timer;
    this.#forget = forget;
  }

  /** Cancelled, replaced or fired since it was queued. */
  protected override isDone(entity: LiveEntity): boolean {
    if (entity.timers().get(this.#alarm.key) === this.#alarm.dueMs) return false;
    this.isSettled = true;
    this.#forget();
    return true;
  }

  get #removal(): TimerEffect {
    return { key: this.#alarm.key, timer: null, previousDueMs: this.#alarm.dueMs };
  }

  protected override entryOf(result: CommandResult, entity: LiveEntity): EntryDraft {
    const isSetAgain = result.timers.some(({ key }) => key === this.#alarm.key);
    const timers = isSetAgain ? result.timers : [...result.timers, this.#removal];
    return { ...this.#base(), ...this.effects({ ...result, timers }, entity) };
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
    if (entity === undefined || !entity.exists) return this.#forget();
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
    this.core.takeIn(this.core.entry({ ...this.#base(), ...this.effects(unchanged, entity), deadLetter }));
  }

  override release(): void {
    // Nobody waits for it.
  }

  protected override refuse(): void {
    this.isSettled = true;
  }
}
