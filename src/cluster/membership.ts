/**
 * One node's life as a member: joins, renews its lease, watches the others, takes the controller's office when it is free, and, in it,
 * appends what the controller decides; drains and leaves.
 *
 *     start ──▶ joined ──drain──▶ draining ──leave──▶ left
 *                  └───────────declared gone───────────▶ gone: takes part no more; the node begins another life
 *
 * MB1 Renewals go on whatever else is under way, one at a time, each decided anew: a stuck one is given up after `unavailableMs`. They come
 *     twice as fast while somebody is overdue.
 * MB2 The office is claimed only where nobody has it, its holder is gone, silent, or drains; after a random moment, so that few try at once. Who
 *     drains governs until somebody else does: whatever it gets stuck in while it ends, the others can do without it.
 * MB3 Everything ends with `close`.
 * MB4 That it is cut off is noticed when it comes about, not by looking now and then: nothing but time does that, and when is known. Time is
 *     told to the lease every `leaseRenewMs` besides: less often it would take that for a pause.
 */
import { OnefoldError } from "../base/errors.ts";
import type { Limits } from "../base/limits.ts";
import type { Host } from "../host/host.ts";
import { decide, type Observations } from "./controller.ts";
import { mayOwn } from "./eligibility.ts";
import {
  beginLease,
  isCutOff,
  isSomebodyOverdue,
  type Lease,
  type LeaseEvent,
  silentMembers,
  stepLease,
} from "./lease.ts";
import type { SystemLog } from "./system-log.ts";
import type { MemberDescription, SystemRecord } from "./system-records.ts";
import { isPresent, type SystemState } from "./system-state.ts";
import type { Decide, ProposalOutcome } from "./system-writer.ts";

export interface MembershipParts {
  readonly host: Pick<Host, "clock" | "timers" | "random" | "trace">;
  readonly limits: Limits;
  readonly log: SystemLog;
  readonly member: MemberDescription;
  /** How far copies of shards reach, as members have told: for a controller. */
  readonly copies: () => Observations["copies"];
  /** Whether this member must promise nothing has changed, or it was declared gone, for good. Must not throw. */
  readonly onChange: () => void;
  /** A bug: renewing or controlling has stopped. Called at most once for each. */
  readonly onFailed: (error: unknown) => void;
}

/** How often the controller looks, or who may be going to be it, besides after each change that it may have to do something about. */
const roundMs = 100;
/** The others are told of whatever makes the office free; this is for what nobody has thought of. */
const bystanderRoundMs = 1000;
/** Up to so long a member waits before it claims the office. */
const claimJitterMs = 100;

export class Membership {
  readonly #parts: MembershipParts;
  readonly #stopListening: () => void;
  #lease: Lease;
  #wasCutOff = true;
  #isOver = false;
  #isLeaving = false;
  readonly #tasks: Promise<void>[] = [];
  readonly #sleepers = new Set<() => void>();
  #known: SystemState;
  /** Something has happened that the controller has not looked at. */
  #isLookDue = false;
  #wakeController: (() => void) | undefined;

  constructor(parts: MembershipParts) {
    this.#parts = parts;
    this.#lease = beginLease(parts.member.id, parts.host.clock.monotonicMs());
    this.#known = parts.log.state;
    this.#stopListening = parts.log.onChange((state) => {
      this.#step({ type: "state", state });
      const isNews = isForController(this.#known, state);
      this.#known = state;
      if (isNews) this.#lookSoon();
    });
  }

  get id(): string {
    return this.#parts.member.id;
  }

  /** True while this member must serve no writes and no strong reads (hazard 20). */
  get isCutOff(): boolean {
    return this.#isOver || isCutOff(this.#lease, this.#parts.host.clock.monotonicMs(), this.#parts.limits);
  }

  /**
   * Whether nobody can have been told to take over from this member yet, if clocks' rates differ by `clockDriftPpmMax` at most: counted
   * from when the last renewal that committed was sent, with twice the drift as margin (hazard 9). A committed renewal also means that
   * all records before it have been folded here.
   */
  holdsLease(clockDriftPpmMax: number): boolean {
    const { sentAtMs, isGone } = this.#lease;
    const { host, limits } = this.#parts;
    const leaseMs = limits.leaseExpireMs * (1 - (2 * clockDriftPpmMax) / 1e6);
    return !this.#isOver && !isGone && sentAtMs !== undefined && host.clock.monotonicMs() < sentAtMs + leaseMs;
  }

  /** The log says that it has gone: this life is over, whatever follows. */
  get isGone(): boolean {
    return this.#lease.isGone;
  }

  /** Whether it may become an owner now. */
  get mayClaim(): boolean {
    return !this.isCutOff && mayOwn(this.#parts.log.state, this.id);
  }

  get isController(): boolean {
    return this.#holdsOffice(this.#parts.log.state);
  }

  /**
   * Joins, and from then on renews, watches and controls. The cluster must have been founded. Throws `unavailable` (retry safe) where it
   * did not happen in time, `overloaded` (retry safe) where there are too many members, `too-large` (retry never) for a long description.
   */
  async join({ deadlineMs }: { readonly deadlineMs: number }): Promise<void> {
    const { log, member, host } = this.#parts;
    const outcome = await log.propose(
      (state) => (state.members.has(member.id) ? undefined : [{ type: "joined", member, wallMs: host.clock.wallMs() }]),
      { deadlineMs },
    );
    if (outcome.kind === "unknown") throw outOfReach();
    if (!isPresent(log.state, member.id)) {
      throw new OnefoldError("overloaded", "The cluster has as many members as it can have. Stop one first.");
    }
    this.#renewed(outcome);
    this.#tasks.push(
      this.#repeat(() => this.#renew()),
      this.#repeat(() => this.#control()),
      this.#repeat(() => this.#tick()),
    );
  }

  /** Says that it is to be given nothing more, and is to hand over what it has. Throws `unavailable` (retry safe). */
  async drain({ deadlineMs }: { readonly deadlineMs: number }): Promise<void> {
    await this.#say(
      { type: "draining", member: this.id },
      (state) => state.members.get(this.id)?.status === "live",
      deadlineMs,
    );
  }

  /** Says that it goes; what it still owns is without an owner. It renews no more. Throws `unavailable` (retry safe). */
  async leave({ deadlineMs }: { readonly deadlineMs: number }): Promise<void> {
    this.#isLeaving = true;
    await this.#say({ type: "left", member: this.id }, (state) => isPresent(state, this.id), deadlineMs);
  }

  /** Ends renewals and everything else; says nothing in the log. Idempotent. */
  async close(): Promise<void> {
    this.#isOver = true;
    this.#stopListening();
    for (const wake of [...this.#sleepers]) wake();
    await Promise.all(this.#tasks);
  }

  async #say(record: SystemRecord, isDue: (state: SystemState) => boolean, deadlineMs: number): Promise<void> {
    const outcome = await this.#parts.log.propose((state) => (isDue(state) ? [record] : undefined), { deadlineMs });
    if (outcome.kind === "unknown" && isDue(this.#parts.log.state)) throw outOfReach();
  }

  // ------------------------------------------------------------------------------------------------------------ renewing

  /** MB1. */
  async #renew(): Promise<void> {
    const { host, limits } = this.#parts;
    const paceMs = isSomebodyOverdue(this.#lease, limits) ? limits.leaseRenewMs / 2 : limits.leaseRenewMs;
    await this.#sleep(paceMs * (0.9 + 0.2 * host.random.next()));
    if (this.#isEnded) return;
    const renewal: Decide = (state) =>
      isPresent(state, this.id) ? [{ type: "renewed", member: this.id, wallMs: host.clock.wallMs() }] : undefined;
    this.#renewed(await this.#propose(renewal));
  }

  #renewed(outcome: ProposalOutcome): void {
    if (outcome.kind !== "committed") return;
    this.#step({ type: "renewed", sentAtMs: outcome.sentAtMs });
    // Only an own renewal makes somebody silent.
    if (silentMembers(this.#lease, this.#parts.limits).size > 0) this.#lookSoon();
  }

  /** MB4. */
  async #tick(): Promise<void> {
    this.#step({ type: "tick" });
    const { host, limits } = this.#parts;
    const { sentAtMs } = this.#lease;
    const untilCutMs = (sentAtMs ?? 0) + limits.unavailableMs - host.clock.monotonicMs();
    await this.#sleep(this.isCutOff ? limits.leaseRenewMs : Math.min(untilCutMs, limits.leaseRenewMs));
  }

  #step(event: LeaseEvent): void {
    const { host, limits, onChange } = this.#parts;
    const wasGone = this.#lease.isGone;
    this.#lease = stepLease(this.#lease, event, host.clock.monotonicMs(), limits);
    const { isCutOff: isNowCutOff, isGone } = this;
    if (isNowCutOff === this.#wasCutOff && isGone === wasGone) return;
    this.#wasCutOff = isNowCutOff;
    this.#lookSoon();
    if (isGone && !wasGone && !this.#isLeaving) {
      host.trace("warn", "The cluster has declared this member gone. It takes part again as a new one.", {
        member: this.id,
      });
    }
    onChange();
  }

  // --------------------------------------------------------------------------------------------------------- controlling

  async #control(): Promise<void> {
    const { log, host } = this.#parts;
    this.#isLookDue = false;
    if (this.#isOfficeFree(log.state)) {
      await this.#sleep(claimJitterMs * host.random.next());
      if (!this.#isEnded) await this.#propose((state) => this.#claim(state));
    }
    if (!this.#isEnded && this.#holdsOffice(log.state)) await this.#govern();
    if (this.#isLookDue) return;
    const isConcerned = this.#holdsOffice(log.state) || this.#isOfficeFree(log.state);
    await this.#sleep(isConcerned ? roundMs : bystanderRoundMs, (wake) => {
      this.#wakeController = wake;
    });
    this.#wakeController = undefined;
  }

  #lookSoon(): void {
    this.#isLookDue = true;
    this.#wakeController?.();
  }

  async #govern(): Promise<void> {
    const { log, limits, copies } = this.#parts;
    const decided = (state: SystemState): readonly SystemRecord[] =>
      decide(state, { self: this.id, silent: silentMembers(this.#lease, limits), copies: copies() });
    // Mostly there is nothing to do: then the writer needn't be asked. It decides anew, on what the log ends with.
    if (decided(log.state).length > 0) await this.#propose(decided);
    if (!log.isCheckpointDue) return;
    const outcome = await log.checkpoint({ deadlineMs: limits.unavailableMs });
    if (outcome.kind === "committed") await this.#trim();
  }

  async #trim(): Promise<void> {
    try {
      await this.#parts.log.trim();
    } catch (error) {
      if (!(error instanceof OnefoldError) || error.code !== "unavailable") throw error;
      this.#parts.host.trace("info", "The system log could not be trimmed now; it is after the next checkpoint.", {
        error,
      });
    }
  }

  #holdsOffice(state: SystemState): boolean {
    return state.controller?.member === this.id && isPresent(state, this.id);
  }

  /** MB2. */
  #isOfficeFree(state: SystemState): boolean {
    if (state.members.get(this.id)?.status !== "live" || this.isCutOff) return false;
    const holder = state.controller?.member;
    return (
      holder === undefined ||
      state.members.get(holder)?.status !== "live" ||
      silentMembers(this.#lease, this.#parts.limits).has(holder)
    );
  }

  #claim(state: SystemState): readonly SystemRecord[] | undefined {
    if (!this.#isOfficeFree(state)) return undefined;
    return [{ type: "controller-claimed", member: this.id, term: (state.controller?.term ?? 0) + 1 }];
  }

  // ------------------------------------------------------------------------------------------------------------- waiting

  get #isEnded(): boolean {
    return this.#isOver || this.#lease.isGone;
  }

  async #repeat(step: () => Promise<void>): Promise<void> {
    try {
      while (!this.#isEnded) await step();
    } catch (error) {
      this.#parts.onFailed(error);
    }
  }

  async #propose(wanted: Decide): Promise<ProposalOutcome> {
    try {
      return await this.#parts.log.propose(wanted, { deadlineMs: this.#parts.limits.unavailableMs });
    } catch (error) {
      if (!(error instanceof OnefoldError) || error.code !== "overloaded") throw error;
      // So many wait because none gets through: it is the same as for those.
      return { kind: "unknown" };
    }
  }

  async #sleep(durationMs: number, onAsleep?: (wake: () => void) => void): Promise<void> {
    if (this.#isOver) return;
    await new Promise<void>((resolve) => {
      const timer = this.#parts.host.timers.after(durationMs, () => wake());
      const wake = (): void => {
        timer.cancel();
        this.#sleepers.delete(wake);
        resolve();
      };
      this.#sleepers.add(wake);
      onAsleep?.(wake);
    });
  }
}

/** Whether more has changed than renewals. */
function isForController(before: SystemState, now: SystemState): boolean {
  if (now.shards !== before.shards || now.controller !== before.controller) return true;
  if (now.members === before.members) return false;
  if (now.members.size !== before.members.size) return true;
  return [...now.members.values()].some(({ id, status }) => before.members.get(id)?.status !== status);
}

function outOfReach(): OnefoldError {
  return new OnefoldError("unavailable", "The cluster's system log can't be written now. Try again.", {
    retryAfterMs: 1000,
  });
}
