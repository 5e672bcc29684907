/**
 * Leases, as one member observes them: who is silent, and whether it is cut off itself. Pure; times are the observer's own monotonic
 * clock. Nothing here is about safety (G2): it decides who is asked to take over, and when to stop promising.
 *
 * LE1 A peer's silence ends with each of its renewals that is seen, and grows only up to the observer's own last renewal that committed:
 *     while nothing commits, nobody grows silent (hazard 24).
 * LE2 Own renewals must have committed `leaseRenewalsMin` times since the peer was heard, so that one slow append is no silence.
 * LE3 After own renewals have not committed for `leaseExpireMs`, or the observer has been away for so long, everybody's silence is counted
 *     anew, after a grace: whoever lost its connection in an election comes back a little later.
 * LE4 The own lease counts from when the renewal was sent, never from when it was seen to have committed (hazard 9).
 */
import type { Limits } from "../base/limits.ts";
import { isPresent, presentMembers, type SystemState } from "./system-state.ts";

type LeaseLimits = Pick<
  Limits,
  "leaseRenewMs" | "leaseExpireMs" | "leaseRenewalsMin" | "leaseGraceMs" | "unavailableMs"
>;

interface Peer {
  /** The sequence of its last renewal. */
  readonly renewedAt: number;
  /** When it was heard, or when its silence is counted from. */
  readonly heardAtMs: number;
  /** Own renewals that have committed since. */
  readonly renewals: number;
}

export interface Lease {
  readonly self: string;
  /** The other members. */
  readonly peers: ReadonlyMap<string, Peer>;
  /** When the own lease was sent that committed last; undefined before the first. */
  readonly sentAtMs: number | undefined;
  /** When an own renewal was last seen to have committed; at first: since when it is waited for. */
  readonly committedAtMs: number;
  readonly steppedAtMs: number;
  /** The log says that this member has gone. */
  readonly isGone: boolean;
}

export type LeaseEvent =
  /** The system log was read further. */
  | { readonly type: "state"; readonly state: SystemState }
  /** An own renewal, or the joining itself, has committed, and `state` events up to it came before. */
  | { readonly type: "renewed"; readonly sentAtMs: number }
  /** Time has passed. At least every `leaseRenewMs`, or it is a pause. */
  | { readonly type: "tick" };

export function beginLease(self: string, nowMs: number): Lease {
  return {
    self,
    peers: new Map(),
    sentAtMs: undefined,
    committedAtMs: nowMs,
    steppedAtMs: nowMs,
    isGone: false,
  };
}

export function stepLease(lease: Lease, event: LeaseEvent, nowMs: number, limits: LeaseLimits): Lease {
  const wasAway = nowMs - lease.steppedAtMs >= limits.leaseExpireMs;
  const present = wasAway ? countAnew(lease, nowMs) : lease;
  return { ...apply(present, event, nowMs, limits), steppedAtMs: nowMs };
}

function apply(lease: Lease, event: LeaseEvent, nowMs: number, limits: LeaseLimits): Lease {
  switch (event.type) {
    case "state":
      return hear(lease, event.state, nowMs);
    case "renewed":
      return renewed(lease, event.sentAtMs, nowMs, limits);
    case "tick":
      return lease;
  }
}

function hear(lease: Lease, state: SystemState, nowMs: number): Lease {
  const peers = new Map<string, Peer>();
  for (const { id, renewedAt } of presentMembers(state)) {
    if (id === lease.self) continue;
    const known = lease.peers.get(id);
    peers.set(id, known?.renewedAt === renewedAt ? known : { renewedAt, heardAtMs: nowMs, renewals: 0 });
  }
  // Before its joining is read, a member is not gone.
  const isGone = lease.isGone || (lease.sentAtMs !== undefined && !isPresent(state, lease.self));
  return { ...lease, peers, isGone };
}

function renewed(lease: Lease, sentAtMs: number, nowMs: number, limits: LeaseLimits): Lease {
  const wasStalled = nowMs - lease.committedAtMs >= limits.leaseExpireMs;
  const counted = wasStalled ? countAnew(lease, nowMs + limits.leaseGraceMs) : lease;
  const peers = new Map<string, Peer>();
  for (const [id, peer] of counted.peers) {
    peers.set(id, { ...peer, renewals: peer.heardAtMs <= nowMs ? peer.renewals + 1 : 0 });
  }
  return { ...counted, peers, sentAtMs: Math.max(sentAtMs, lease.sentAtMs ?? sentAtMs), committedAtMs: nowMs };
}

/** LE3. A later begin of the count stays. */
function countAnew(lease: Lease, fromMs: number): Lease {
  const peers = new Map<string, Peer>();
  for (const [id, peer] of lease.peers) {
    peers.set(id, { ...peer, heardAtMs: Math.max(fromMs, peer.heardAtMs), renewals: 0 });
  }
  return { ...lease, peers };
}

/** The members that are silent, each with the renewal that was its last (LE1, LE2). */
export function silentMembers(lease: Lease, limits: LeaseLimits): ReadonlyMap<string, number> {
  const silent = new Map<string, number>();
  for (const [id, { renewedAt, heardAtMs, renewals }] of lease.peers) {
    const silentMs = lease.committedAtMs - heardAtMs;
    if (silentMs >= limits.leaseExpireMs && renewals >= limits.leaseRenewalsMin) silent.set(id, renewedAt);
  }
  return silent;
}

/** Whether somebody has missed a renewal: then own renewals are to come faster, so that LE2 delays nothing. */
export function isSomebodyOverdue(lease: Lease, limits: LeaseLimits): boolean {
  const overdueMs = limits.leaseRenewMs * 1.5;
  return [...lease.peers.values()].some(({ heardAtMs }) => lease.committedAtMs - heardAtMs >= overdueMs);
}

/** Whether this member must promise nothing now: no writes, no strong reads (hazard 20, LE4). Also before its first renewal. */
export function isCutOff(lease: Lease, nowMs: number, { unavailableMs }: LeaseLimits): boolean {
  return lease.isGone || lease.sentAtMs === undefined || nowMs - lease.sentAtMs >= unavailableMs;
}

/** For members that are far from each other: see `leaseRegionsFactor`. */
export function patientLeases(limits: Limits): Limits {
  const { leaseRenewMs, leaseExpireMs, leaseGraceMs, unavailableMs, leaseRegionsFactor: factor } = limits;
  return {
    ...limits,
    leaseRenewMs: leaseRenewMs * factor,
    leaseExpireMs: leaseExpireMs * factor,
    leaseGraceMs: leaseGraceMs * factor,
    unavailableMs: unavailableMs * factor,
  };
}
