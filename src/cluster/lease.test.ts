import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { limits } from "../base/limits.ts";
import { beginLease, isCutOff, isSomebodyOverdue, type Lease, silentMembers, stepLease } from "./lease.ts";
import { founding, joining, stateAfter } from "./system.fixture.ts";
import type { SystemState } from "./system-state.ts";

/** Member `a` watches `b` and `c`, whose renewals it is told of. */
class Watch {
  nowMs = 5000;
  state: SystemState = stateAfter([founding(), joining("a"), joining("b"), joining("c")]);
  lease: Lease = beginLease("a", this.nowMs);

  constructor() {
    this.#step({ type: "state", state: this.state });
    this.#step({ type: "renewed", sentAtMs: this.nowMs });
  }

  #step(event: Parameters<typeof stepLease>[1]): void {
    this.lease = stepLease(this.lease, event, this.nowMs, limits);
  }

  hear(...members: readonly string[]): void {
    this.state = stateAfter(
      members.map((member) => ({ type: "renewed", member, wallMs: 1 })),
      this.state,
    );
    this.#step({ type: "state", state: this.state });
  }

  renew(sentAtMs = this.nowMs): void {
    this.hear("a");
    this.#step({ type: "renewed", sentAtMs });
  }

  leave(member: string): void {
    this.state = stateAfter([{ type: "left", member }], this.state);
    this.#step({ type: "state", state: this.state });
  }

  /** Time passes, with ticks on the way. */
  pass(durationMs: number): void {
    const endMs = this.nowMs + durationMs;
    while (this.nowMs < endMs) {
      this.nowMs = Math.min(this.nowMs + 50, endMs);
      this.#step({ type: "tick" });
    }
  }

  /** Time passes without a tick. */
  pause(durationMs: number): void {
    this.nowMs += durationMs;
  }

  /** For so long, `a` renews each 300 ms, and these others too. */
  live(durationMs: number, ...others: readonly string[]): void {
    for (let passedMs = 0; passedMs < durationMs; passedMs += 300) {
      this.pass(300);
      this.hear(...others);
      this.renew();
    }
  }

  get seen(): string {
    const silent = [...silentMembers(this.lease, limits).keys()].join(",") || "nobody";
    return `silent: ${silent}${isCutOff(this.lease, this.nowMs, limits) ? "; cut off" : ""}`;
  }
}

describe("a lease", () => {
  test("finds who renews no more, within 1.3 s", () => {
    const watch = new Watch();
    watch.live(3000, "b", "c");
    assert.equal(watch.seen, "silent: nobody");
    watch.live(900, "b");
    assert.equal(watch.seen, "silent: nobody");
    watch.live(300, "b");
    assert.equal(watch.seen, "silent: c");
    assert.deepEqual([...silentMembers(watch.lease, limits).values()], [watch.state.members.get("c")!.renewedAt]);
    watch.hear("c");
    assert.equal(watch.seen, "silent: nobody", "a renewal ends it at once");
  });

  test("finds nobody silent while nothing commits, however long an election takes (LE1)", () => {
    const watch = new Watch();
    watch.live(600, "b", "c");
    for (const [seconds, cut] of [
      [1, ""],
      [2, "; cut off"],
      [9, "; cut off"],
    ] as const) {
      watch.pass(seconds * 1000);
      assert.equal(watch.seen, `silent: nobody${cut}`);
    }
    watch.renew();
    assert.equal(watch.seen, "silent: nobody", "its own renewal is the first after the election");
    watch.live(1800);
    assert.equal(watch.seen, "silent: nobody", "the others' connections come back later (LE3)");
    watch.live(1200, "b");
    assert.equal(watch.seen, "silent: c", "who does not come back is found all the same");
  });

  test("lets a silence that was under way grow no further in an election (LE1)", () => {
    const watch = new Watch();
    watch.live(600, "b", "c");
    for (let count = 0; count < 4; count++) {
      watch.pass(200);
      watch.renew();
    }
    watch.pass(5000);
    assert.equal(watch.seen, "silent: nobody; cut off");
  });

  test("takes one slow append for no silence (LE2)", () => {
    const watch = new Watch();
    watch.live(600, "b", "c");
    watch.pass(980);
    watch.renew();
    assert.equal(watch.seen, "silent: nobody");
    watch.pass(50);
    watch.renew();
    assert.equal(watch.seen, "silent: nobody", "more than a second since b and c, but few renewals");
    watch.pass(50);
    watch.renew();
    assert.equal(watch.seen, "silent: b,c");
  });

  test("finds somebody overdue who has missed a renewal, before it is silent", () => {
    const watch = new Watch();
    watch.live(600, "b", "c");
    watch.pass(limits.leaseRenewMs);
    watch.renew();
    assert.equal(isSomebodyOverdue(watch.lease, limits), false);
    watch.pass(limits.leaseRenewMs / 2);
    watch.renew();
    assert.equal(isSomebodyOverdue(watch.lease, limits), true);
    assert.equal(watch.seen, "silent: nobody");
    watch.hear("b", "c");
    assert.equal(isSomebodyOverdue(watch.lease, limits), false);
  });

  test("counts anew after the observer was away itself (LE3)", () => {
    const watch = new Watch();
    watch.live(600, "b", "c");
    watch.live(600);
    watch.pause(4000);
    watch.hear("a");
    assert.equal(watch.seen, "silent: nobody; cut off");
    watch.renew();
    watch.live(900);
    assert.equal(watch.seen, "silent: nobody");
  });

  test("is cut off 1.5 s after its last renewal that committed was sent, whenever that was seen (LE4)", () => {
    const watch = new Watch();
    watch.live(300, "b", "c");
    const sentAtMs = watch.nowMs;
    watch.pass(900);
    watch.renew(sentAtMs);
    watch.pass(599);
    assert.equal(watch.seen, "silent: nobody");
    watch.pass(1);
    assert.match(watch.seen, /cut off/);
    watch.renew();
    assert.doesNotMatch(watch.seen, /cut off/);
  });

  test("is over for good when the log says that the member has gone", () => {
    const watch = new Watch();
    watch.leave("a");
    assert.match(watch.seen, /cut off/);
    watch.renew();
    assert.match(watch.seen, /cut off/);
  });

  test("watches who joins, and forgets who goes", () => {
    const watch = new Watch();
    watch.live(600, "b");
    watch.leave("c");
    watch.live(3000, "b");
    assert.equal(watch.seen, "silent: nobody");
    watch.state = stateAfter([joining("d")], watch.state);
    watch.hear();
    watch.live(900, "b");
    assert.equal(watch.seen, "silent: nobody");
    watch.live(300, "b");
    assert.equal(watch.seen, "silent: d");
  });

  test("holds nothing before the first renewal", () => {
    const lease = beginLease("a", 0);
    assert.equal(isCutOff(lease, 0, limits), true);
    const ticked = stepLease(lease, { type: "state", state: stateAfter([founding(), joining("b")]) }, 10, limits);
    assert.equal(ticked.isGone, false, "it has not joined yet");
  });
});
