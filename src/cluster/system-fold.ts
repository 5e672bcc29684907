/**
 * The fold of the system log: what its records mean. Pure, the same on every node, total: a record that contradicts the state it meets is
 * passed over. That is what makes an append to the system log a compare-and-set of whatever its record is about.
 *
 * SF1 A log record that is folded in already changes nothing, nor does one before it.
 * SF2 Once the cluster is founded, every slot is held by exactly one shard that is not retired; but for a cluster that waits for a system
 *     to be moved to it, which has no shard at all (`promotion-fold.ts`).
 * SF3 Terms and assignments never go back. A decision of a term that is over changes nothing.
 * SF4 Owner, followers and the target of a move are members that are not gone, each named once.
 * SF5 Who is gone stays gone, as long as it is told of: nothing that it wrote before, or writes after, brings it back.
 * SF6 Of repairs and splits of one log the first holds.
 * SF7 The state is bounded (`limits`), so that it fits in one checkpoint.
 */
import { limits } from "../base/limits.ts";
import * as placement from "./placement-fold.ts";
import * as promotion from "./promotion-fold.ts";
import * as regions from "./regions-fold.ts";
import type { MemberDescription, SystemRecord } from "./system-records.ts";
import * as suspects from "./suspect-fold.ts";
import { deploy } from "./deployed-code.ts";
import { imageOf, stateOf } from "./system-image.ts";
import { isPresent, type MemberState, presentMembers, type SystemState } from "./system-state.ts";

/** The state after the log record at `sequence` with these records (SF1). The caller has verified that it is the next one. */
export function fold(state: SystemState, records: readonly SystemRecord[], sequence: number): SystemState {
  if (sequence <= state.sequence) return state;
  let next = state;
  for (const record of records) next = foldOne(next, record, sequence);
  return { ...next, sequence };
}

/** What one record of the log record at `sequence` does. For whoever decides several things in a row: see `controller.ts`. */
export function foldOne(state: SystemState, record: SystemRecord, sequence: number): SystemState {
  switch (record.type) {
    case "founded":
      return placement.found(state, record.cluster);
    case "promotion-begun":
      return promotion.begin(state, record);
    case "promotion-activated":
      return promotion.activate(state, record);
    case "promotion-abandoned":
      return promotion.abandon(state, record);
    case "promotion-verified":
      return promotion.verify(state, record);
    case "regions-founded":
      return regions.foundRegions(state, record.regions);
    case "kinds-declared":
      return regions.declareKinds(state, record.kinds);
    case "joined":
      return join(state, record, sequence);
    case "renewed":
      return changeMember(state, record.member, (member) => ({
        ...member,
        renewedAt: sequence,
        wallMs: record.wallMs,
      }));
    case "draining":
      return changeMember(state, record.member, (member) => ({ ...member, status: "draining" }));
    case "left":
      return isPresent(state, record.member) ? removeMember(state, record.member) : state;
    case "controller-claimed":
      return claimOffice(state, record.member, record.term);
    case "expired":
      return expire(state, record);
    case "assigned":
      return placement.decisionHolds(state, record.term) ? placement.assign(state, record) : state;
    case "move-planned":
      return placement.decisionHolds(state, record.term) ? placement.planMove(state, record) : state;
    case "split-ordered":
      return placement.decisionHolds(state, record.term) ? placement.orderSplit(state, record) : state;
    case "deployed":
      return placement.decisionHolds(state, record.term) ? deploy(state, record.code) : state;
    case "split-asked":
      return placement.askSplit(state, record);
    case "released":
      return placement.release(state, record);
    case "split-abandoned":
      return placement.abandonSplit(state, record);
    case "split-published":
      return placement.publishSplit(state, record);
    case "snapshot-published":
      return placement.publishSnapshot(state, record);
    case "quarantined":
      return placement.quarantine(state, record);
    case "repaired":
      return placement.repair(state, record);
    case "suspected":
      return suspects.suspect(state, record.suspect);
    case "cleared":
      return suspects.clear(state, record.entity);
    case "quarantine-lifted":
      return suspects.lift(state, record.entity);
    case "continued":
      return state;
    case "checkpoint": {
      // Who has folded all before it has this state already; who begins with it has nothing.
      const before = state.sequence === 0 ? stateOf(record.state) : state;
      return { ...before, checkpoints: [...before.checkpoints, sequence].slice(-2) };
    }
  }
}

/** The record that holds this state, to be appended right behind it, by itself. */
export function checkpointOf(state: SystemState): SystemRecord {
  return { type: "checkpoint", state: imageOf(state) };
}

function join(
  state: SystemState,
  { member, wallMs }: { readonly member: MemberDescription; readonly wallMs: number },
  sequence: number,
): SystemState {
  const isRefused =
    state.cluster === undefined || state.members.has(member.id) || presentMembers(state).length >= limits.membersMax;
  if (isRefused) return state;
  const members = new Map(state.members);
  members.set(member.id, { ...member, status: "live", renewedAt: sequence, wallMs });
  return { ...state, members };
}

function changeMember(state: SystemState, id: string, change: (member: MemberState) => MemberState): SystemState {
  const member = state.members.get(id);
  if (member === undefined || member.status === "gone") return state;
  return { ...state, members: new Map(state.members).set(id, change(member)) };
}

function expire(
  state: SystemState,
  record: { readonly term: number; readonly member: string; readonly renewedAt: number },
): SystemState {
  const member = state.members.get(record.member);
  const isHeld =
    placement.decisionHolds(state, record.term) &&
    member !== undefined &&
    member.status !== "gone" &&
    member.renewedAt === record.renewedAt &&
    record.member !== state.controller?.member;
  return isHeld ? removeMember(state, record.member) : state;
}

/** SF4, SF5, SF7. */
function removeMember(state: SystemState, id: string): SystemState {
  const gone = changeMember(state, id, (member) => ({ ...member, status: "gone" }));
  const members = new Map(gone.members);
  const forgotten = [...members.values()].filter((member) => member.status === "gone").slice(0, -limits.membersGoneMax);
  for (const member of forgotten) members.delete(member.id);
  return placement.withoutMember({ ...gone, members }, id);
}

function claimOffice(state: SystemState, member: string, term: number): SystemState {
  const isNext = term === (state.controller?.term ?? 0) + 1;
  return isNext && isPresent(state, member) ? { ...state, controller: { member, term } } : state;
}
