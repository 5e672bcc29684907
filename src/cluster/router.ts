/**
 * Finds the owner of a shard for a call, and finds it again when it changes under way.
 *
 *     looking ──owner known──► attempt ──answer, final failure──► settled
 *        ▲                        │
 *        └── not begun, hint ─────┤── in doubt, and it bears repetition ──► looking
 *                                 └── in doubt, and it does not ──────────► `outcome-unknown`
 *
 * RO1  A call that may have begun is made again only if it bears repetition: a read, or one that its shard knows by its identity.
 * RO2  What fails as retry `safe` has surely not begun, in any attempt.
 * RO3  Every call ends by its deadline, or a moment later; on a node that is cut off, soon after that is known, whatever it waits for.
 * RO4  What waits is bounded in number and bytes (G9).
 */
import { OnefoldError } from "../base/errors.ts";
import type { Limits } from "../base/limits.ts";
import type { Value } from "../base/value.ts";
import type { Clock, Random, Timers } from "../host/host.ts";
import type { LocalShards, OwnedShard, ShardMap, Standing } from "./local-shards.ts";
import { OpenAttempts, type OwnerStanding } from "./open-attempts.ts";
import type { Peers } from "./peers.ts";
import { failureClass, hintOf, type OwnerHint, ownerToBe } from "./route-outcome.ts";
import type { ShardState, SystemState } from "./system-state.ts";

export interface RouterParts {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: Random;
  readonly limits: Limits;
  readonly peers: Peers;
  readonly map: ShardMap;
  readonly local: LocalShards;
  readonly standing: Standing;
}

export interface RoutedCall<T> {
  /** For messages. */
  readonly what: string;
  readonly kind: "read" | "identified" | "unidentified";
  /** By the monotonic clock. */
  readonly deadlineMs: number;
  readonly sizeBytes: number;
  /** The shard that it is for, now; undefined where there is none yet. */
  shardIn(state: SystemState): ShardState | undefined;
  local(owned: OwnedShard, shard: ShardState, remainingMs: number): Promise<T>;
  readonly method: string;
  body(shard: ShardState, remainingMs: number): Value;
  /** Of the answer to `method`. */
  reply(answer: Value): T;
}

type Target =
  | { readonly shard: ShardState; readonly owned: OwnedShard }
  | { readonly shard: ShardState; readonly address: string; readonly member: string; readonly assignment: number };

/** What is known of a call from its attempts. */
interface Progress {
  attempts: number;
  /** Of the shard as it is assigned now. */
  retries: number;
  assignment: number;
  mayHaveBegun: boolean;
  hint: OwnerHint | undefined;
  /** The highest assignment under which somebody was asked. */
  askedUnder: number;
  lastFailure: OnefoldError | undefined;
}

const firstRetryMs = 5;
/** An engine that elects takes seconds, and each call that comes again costs little: it is refused at once. */
const cutOffRetryMs = 250;

export class Router {
  readonly #parts: RouterParts;
  readonly #attempts: OpenAttempts;
  #openCount = 0;
  #openBytes = 0;

  constructor(parts: RouterParts) {
    this.#parts = parts;
    this.#attempts = new OpenAttempts(parts);
  }

  /** Calls that are under way. */
  get openCount(): number {
    return this.#openCount;
  }

  /**
   * Rejects with what the call's own failure is; with `unavailable` (safe) or `outcome-unknown` where no owner has answered in time;
   * with `overloaded` (RO4).
   */
  async route<T>(call: RoutedCall<T>): Promise<T> {
    const { routedCallsMax, routedBytesMax } = this.#parts.limits;
    if (this.#openCount >= routedCallsMax || this.#openBytes + call.sizeBytes > routedBytesMax) {
      const message = "As many calls as this node accepts are looking for their shards. Try again a little later.";
      throw new OnefoldError("overloaded", message, { retryAfterMs: 100 });
    }
    this.#openCount++;
    this.#openBytes += call.sizeBytes;
    try {
      return await this.#run(call);
    } finally {
      this.#openCount--;
      this.#openBytes -= call.sizeBytes;
    }
  }

  /** This node has come to own a shard: who waits for that looks again. */
  ownsMore(): void {
    this.#attempts.endPauses();
  }

  close(): void {
    this.#attempts.close();
  }

  async #run<T>(call: RoutedCall<T>): Promise<T> {
    const progress: Progress = {
      attempts: 0,
      retries: 0,
      assignment: -1,
      mayHaveBegun: false,
      hint: undefined,
      askedUnder: -1,
      lastFailure: undefined,
    };
    for (;;) {
      this.#assertGoesOn(call, progress);
      const target = this.#target(call, progress.hint);
      if (target === undefined) {
        await this.#pause(call, progress, 0);
        continue;
      }
      progress.askedUnder = Math.max(progress.askedUnder, assignmentOf(target));
      try {
        return await this.#attempt(call, target, progress);
      } catch (error) {
        await this.#afterFailure(call, progress, error);
      }
    }
  }

  /** RO3. */
  #assertGoesOn(call: RoutedCall<unknown>, progress: Progress): void {
    const { standing, clock } = this.#parts;
    const { what } = call;
    if (standing.isCutOff) {
      const cutOff = "This node is cut off from the cluster's majority";
      throw progress.mayHaveBegun && call.kind !== "read"
        ? new OnefoldError("outcome-unknown", `${cutOff}; ${what} may have been done.`)
        : new OnefoldError("unavailable", `${cutOff}; ${what} was not done.`, { retryAfterMs: cutOffRetryMs });
    }
    if (clock.monotonicMs() < call.deadlineMs) return;
    if (progress.mayHaveBegun && call.kind !== "read") {
      throw new OnefoldError("outcome-unknown", `No owner has answered ${what} in time; it may have been done.`);
    }
    const { lastFailure } = progress;
    const message = lastFailure?.message ?? "The shard has no owner now.";
    throw new OnefoldError("unavailable", `${what} was not done before its deadline. ${message}`, {
      cause: lastFailure,
      retryAfterMs: 1000,
    });
  }

  #target(call: RoutedCall<unknown>, hint: OwnerHint | undefined): Target | undefined {
    const { map, local, peers } = this.#parts;
    const shard = call.shardIn(map.state);
    if (shard === undefined) return undefined;
    const owned = local.owned(shard.id);
    if (owned !== undefined) return { shard, owned };
    const isHintNewer = hint?.shard === shard.id && hint.assignment > shard.assignment;
    const known = isHintNewer ? hint : { member: shard.owner, assignment: shard.assignment };
    const isHere = (id: string | undefined): boolean =>
      id !== undefined && map.state.members.get(id)?.address === peers.address;
    // Given up here, as the system log is about to say: it moves on.
    const { member: id, assignment } =
      (isHere(known.member) && !isHintNewer ? ownerToBe(map.state, shard.id) : known) ?? known;
    const member = id === undefined ? undefined : map.state.members.get(id);
    // This node itself is to own it and does not yet.
    if (member === undefined || member.status === "gone" || member.address === peers.address) return undefined;
    return { shard, address: member.address, member: member.id, assignment };
  }

  #attempt<T>(call: RoutedCall<T>, target: Target, progress: Progress): Promise<T> {
    const { clock, limits, peers } = this.#parts;
    const remainingMs = call.deadlineMs - clock.monotonicMs();
    const { shard } = target;
    if ("owned" in target) {
      const { deadlineMs } = call;
      return this.#attempts.watch(call.local(target.owned, shard, remainingMs), {
        standing: () => "owner",
        deadlineMs,
      });
    }
    // What bears repetition need not wait for an answer that was lost.
    const patienceMs = limits.routeAttemptMs * 2 ** Math.min(progress.attempts++, 10);
    const deadlineMs = call.kind === "unidentified" ? remainingMs : Math.min(remainingMs, patienceMs);
    const answer = peers.call(target.address, call.method, call.body(shard, remainingMs), { deadlineMs });
    return this.#attempts.watch(
      answer.then((value) => call.reply(value)),
      { standing: (state) => standingOf(state, target, call), deadlineMs: call.deadlineMs },
    );
  }

  async #afterFailure(call: RoutedCall<unknown>, progress: Progress, error: unknown): Promise<void> {
    const failure = failureClass(error);
    if (failure === "final") throw error;
    progress.lastFailure = error as OnefoldError;
    if (failure === "in-doubt") {
      progress.mayHaveBegun = true;
      // RO1.
      if (call.kind === "unidentified") throw inDoubt(call.what, error as OnefoldError);
    }
    const hint = hintOf(error);
    const isNews = hint !== undefined && hint.assignment > (progress.hint?.assignment ?? -1);
    progress.hint = isNews ? hint : progress.hint;
    // Who is to own it next is asked at once, and only forward, so that two nodes can't send a call to and fro.
    const next = this.#target(call, progress.hint);
    const isFollowed = next !== undefined && assignmentOf(next) > progress.askedUnder;
    if (!isFollowed) await this.#pause(call, progress, progress.lastFailure.retryAfterMs ?? 0);
  }

  /** Until the map has changed, or for a moment, longer each time. */
  #pause(call: RoutedCall<unknown>, progress: Progress, atLeastMs: number): Promise<void> {
    const { limits, random, clock, map } = this.#parts;
    const assignment = call.shardIn(map.state)?.assignment ?? -1;
    // Who has just been assigned it will own it soon.
    if (assignment !== progress.assignment) progress.retries = 0;
    progress.assignment = assignment;
    const backOffMs = Math.min(limits.routeRetryMsMax, firstRetryMs * 2 ** Math.min(progress.retries++, 10));
    const waitMs = Math.max(Math.min(atLeastMs, limits.routeRetryMsMax), backOffMs * (0.5 + random.next() / 2));
    return this.#attempts.pause(Math.max(0, Math.min(waitMs, call.deadlineMs - clock.monotonicMs())));
  }
}

function assignmentOf(target: Target): number {
  return "owned" in target ? target.shard.assignment : target.assignment;
}

/** The one who was asked may never answer where it is not the owner any more. */
function standingOf(
  state: SystemState,
  { shard, member, assignment }: { readonly shard: ShardState; readonly member: string; readonly assignment: number },
  { kind }: Pick<RoutedCall<unknown>, "kind">,
): OwnerStanding {
  if (state.members.get(member)?.status === "gone") return kind === "unidentified" ? "replaced" : "gone";
  const now = state.shards.get(shard.id);
  if (now === undefined || now.status === "retired") return "replaced";
  // Also under the very assignment that was expected for it (`ownerToBe`).
  return now.assignment >= assignment && now.owner !== member ? "replaced" : "owner";
}

function inDoubt(what: string, cause: OnefoldError): OnefoldError {
  if (cause.code === "outcome-unknown") return cause;
  return new OnefoldError("outcome-unknown", `${what} may have been done. ${cause.message}`, { cause });
}
