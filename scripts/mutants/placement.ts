/** Mutants of membership and placement: leases, the controller, the system log's fold. Most are beyond what a drill's clients can see. */
import type { Mutant } from "./mutant.ts";

export const placement: readonly Mutant[] = [
  {
    name: "a peer's silence grows while nothing commits",
    breaks: ["hazard 24", "LE1", "design 7: an election of the engine moves nothing"],
    edits: [
      {
        file: "src/cluster/lease.ts",
        from: "    const silentMs = lease.committedAtMs - heardAtMs;",
        to: "    const silentMs = lease.steppedAtMs - heardAtMs;",
      },
      {
        file: "src/cluster/lease.ts",
        from: "    if (silentMs >= limits.leaseExpireMs && renewals >= limits.leaseRenewalsMin) silent.set(id, renewedAt);",
        to: "    if (silentMs >= limits.leaseExpireMs && renewals >= 0) silent.set(id, renewedAt);",
      },
    ],
    trial: { kind: "tests", files: ["src/cluster/lease.test.ts"] },
  },
  {
    name: "a lease counts from when its renewal was seen to have committed",
    breaks: ["hazard 9", "LE4"],
    edits: [
      {
        file: "src/cluster/lease.ts",
        from: "nowMs - lease.sentAtMs >= unavailableMs;",
        to: "nowMs - lease.committedAtMs >= unavailableMs;",
      },
    ],
    trial: { kind: "tests", files: ["src/cluster/lease.test.ts"] },
  },
  {
    name: "a member whose clock is far from the others' may own",
    breaks: ["hazard 9", "CK1", "design 7: a node whose clock is far from its peers' may not claim"],
    edits: [
      {
        file: "src/cluster/clock-check.ts",
        from: "  return Math.abs(clockOffsetMs(state, member)) <= limits.clockSkewMsMax;",
        to: "  return Math.abs(clockOffsetMs(state, member)) >= 0;",
      },
    ],
    trial: { kind: "tests", files: ["src/cluster/clock-check.test.ts", "src/cluster/controller.test.ts"] },
  },
  {
    name: "a member that is cut off goes on promising",
    breaks: ["hazard 20", "RO3"],
    edits: [
      { file: "src/cluster/router.ts", from: "    if (standing.isCutOff) {", to: "    if (standing === undefined) {" },
    ],
    trial: { kind: "tests", files: ["src/cluster/cluster-service.test.ts"] },
  },
  {
    name: "decisions of a term that is over are taken",
    breaks: ["SF3", "design 7: one controller decides placement"],
    edits: [
      {
        file: "src/cluster/placement-fold.ts",
        from: "  return state.controller?.term === term && isPresent(state, state.controller.member);",
        to: "  return state.controller !== undefined && term > 0;",
      },
    ],
    trial: { kind: "tests", files: ["src/cluster/system-fold.test.ts"] },
  },
  {
    name: "of two new logs for one shard the later one wins",
    breaks: ["RP4", "SF6", "design 7: publishes that in the system log by compare-and-set"],
    edits: [
      {
        file: "src/cluster/placement-fold.ts",
        from: '    if (shard.status !== "quarantined" || shard.log !== parent.log || log === parent.log) return undefined;',
        to: "    if (log === parent.log) return undefined;",
      },
    ],
    trial: { kind: "tests", files: ["src/cluster/system-fold.test.ts"] },
  },
  {
    name: "a member that was declared gone comes back by renewing",
    breaks: ["SF5"],
    edits: [
      {
        file: "src/cluster/system-fold.ts",
        from: '  if (member === undefined || member.status === "gone") return state;',
        to: "  if (member === undefined) return state;",
      },
    ],
    trial: { kind: "tests", files: ["src/cluster/system-fold.test.ts"] },
  },
  {
    name: "a node forgets at its start what it had verified of the system log",
    breaks: ["hazard 1", "SK1", "SL2"],
    edits: [
      {
        file: "src/cluster/system-copy.ts",
        from: "      const opened = copy.#log === undefined ? await copy.#openExisting(index) : undefined;",
        to: "      const opened = index < 0 ? await copy.#openExisting(index) : undefined;",
      },
    ],
    trial: { kind: "tests", files: ["src/cluster/system-log.test.ts"] },
  },
  {
    name: "a system log goes on without nodes that are gone by an old copy",
    breaks: ["hazard 1", "SY1"],
    edits: [
      {
        file: "src/cluster/system-succession.ts",
        from: "  if (final.length === peers.known(state).length) return true;",
        to: "  if (final.length === peers.others(state).length) return true;",
      },
    ],
    trial: { kind: "tests", files: ["src/cluster/system-succession.test.ts"] },
  },
  {
    name: "any follower takes over, also one that is far behind",
    breaks: ["CT2"],
    edits: [
      {
        file: "src/cluster/placement-choice.ts",
        from: "Math.max(0, farthest - reach(member) - nearRecordsMax), loads.of(member)]);",
        to: "Math.max(0, reach(member) - farthest - nearRecordsMax), loads.of(member)]);",
      },
    ],
    trial: { kind: "tests", files: ["src/cluster/controller.test.ts"] },
  },
  {
    name: "what is in doubt is said not to have begun",
    breaks: ["hazard 3", "RO1", "RO2", "design 6: 'unknown' is never reported as failure"],
    edits: [
      {
        file: "src/cluster/route-outcome.ts",
        from: '    case "outcome-unknown":\n      return "in-doubt";',
        to: '    case "outcome-unknown":\n      return "not-begun";',
      },
    ],
    trial: { kind: "tests", files: ["src/cluster/cluster-service.test.ts"] },
  },
  {
    name: "a session's read runs on a copy that has not seen what the session has",
    breaks: ["G7", "design 6: session reads"],
    edits: [
      {
        file: "src/cluster/peer-handlers.ts",
        from: "(position.incarnation === incarnation && position.sequence <= sequence);",
        to: "position.incarnation === incarnation;",
      },
    ],
    trial: { kind: "tests", files: ["src/cluster/cluster-service.test.ts"] },
  },
  {
    name: "a transaction's home is where its call came in",
    breaks: ["design 8: a home is a pure function of the input", "CL1", "hazard 14"],
    edits: [
      {
        file: "src/cluster/cluster-service.ts",
        from: "    const slot = home ?? this.#anySlot();",
        to: "    const slot = home === -1 ? home : this.#anySlot();",
      },
    ],
    trial: { kind: "tests", files: ["src/cluster/cluster-service.test.ts"] },
  },
  {
    name: "a request between nodes is carried out as often as it arrives",
    breaks: ["hazard 13", "PE1"],
    edits: [
      {
        file: "src/cluster/asking-peers.ts",
        from: '    if (id <= this.#floor || this.#known.has(id)) return "repeated";',
        to: "",
      },
    ],
    trial: { kind: "tests", files: ["src/cluster/network-peers.test.ts"] },
  },
  {
    name: "members with newer code than the others own at once",
    breaks: ["hazard 22", "DC3", "G11"],
    edits: [
      {
        file: "src/cluster/deployed-code.ts",
        from: "  return state.deployed === undefined || isSame(state.deployed, member);",
        to: "  return state.deployed === undefined || isSame(member, member);",
      },
    ],
    trial: { kind: "cluster", regime: "upgrades" },
  },
  {
    name: "what is deployed is raised while a live member lacks it",
    breaks: ["hazard 22", "DC2", "G11"],
    edits: [{ file: "src/cluster/deployed-code.ts", from: "common, live[0]!));", to: "atLeast, live[0]!));" }],
    trial: { kind: "tests", files: ["src/cluster/deployed-code.test.ts"] },
  },
  {
    name: "what was acknowledged behind a late claim is taken for a rollback",
    breaks: ["hazard 1", "hazard 3", "CL1"],
    edits: [
      {
        file: "src/cluster/claim.ts",
        from: "    if (anchor.sequence > claimed) later = anchor;",
        to: "    if (anchor.sequence < 0) later = anchor;",
      },
    ],
    trial: { kind: "tests", files: ["src/cluster/shard-host.test.ts"] },
  },
  {
    name: "claims on a log that went back count for a repair like what they replaced",
    breaks: ["hazard 1", "RP2"],
    edits: [
      {
        file: "src/cluster/copy-reach.ts",
        from: "  return a.contentSequence - b.contentSequence || a.sequence - b.sequence;",
        to: "  return a.sequence - b.sequence;",
      },
    ],
    trial: { kind: "tests", files: ["src/cluster/copy-reach.test.ts", "src/cluster/cluster.test.ts"] },
  },
  {
    name: "a node leaves with what no other one has",
    breaks: ["hazard 1", "CN2"],
    edits: [
      {
        file: "src/cluster/node-shards.ts",
        from: "contentSequence >= reach.content.sequence) ? [] : [log];",
        to: "contentSequence >= 0) ? [] : [log];",
      },
    ],
    trial: { kind: "tests", files: ["src/cluster/cluster.test.ts"] },
  },
  {
    name: "a repair doesn't ask what an owner had when it gave the shard up",
    breaks: ["hazard 1", "RP3", "G8"],
    edits: [
      {
        file: "src/cluster/shard-repair.ts",
        from: "  if (parts.anchor !== undefined && !(await replica.holds(parts.anchor))) {",
        to: "  if (parts.anchor !== undefined && parts.anchor.sequence < 0) {",
      },
    ],
    trial: { kind: "tests", files: ["src/cluster/cluster.test.ts"] },
  },
];
