import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { type Phase, type PhaseEvent, step } from "./two-phase.ts";

const vote: PhaseEvent = { type: "vote", slots: [1, 2] };
const yes = (slot: number): PhaseEvent => ({ type: "voted", slot, isYes: true });
const no = (slot: number): PhaseEvent => ({ type: "voted", slot, isYes: false });
const abort: PhaseEvent = { type: "abort" };
const decided: PhaseEvent = { type: "decided" };
const durable: PhaseEvent = { type: "durable" };
const dropped: PhaseEvent = { type: "dropped" };

/** What it says on the way, and where it ends. */
function transcript(...events: readonly PhaseEvent[]): string {
  let phase: Phase = { kind: "running" };
  const said: string[] = [];
  for (const event of events) {
    const next = step(phase, event);
    phase = next.phase;
    said.push(...next.effects);
  }
  return [...said, phase.kind].join(" ");
}

describe("the two phases", () => {
  test("commit when all have voted yes and the decision is durable", () => {
    assert.equal(transcript(vote, yes(2), yes(1), decided, durable), "ask agree committed");
  });

  test("wait for every vote, however often others are heard (TW1)", () => {
    assert.equal(transcript(vote, yes(1), yes(1), yes(7)), "ask voting");
    assert.equal(transcript(vote, yes(1), yes(1), decided), "ask voting");
  });

  test("abort with one no, and stay aborted (TW3)", () => {
    assert.equal(transcript(vote, yes(1), no(2)), "ask lose tell-abort aborted");
    assert.equal(transcript(vote, no(2), yes(2), yes(1), decided, durable), "ask lose tell-abort aborted");
  });

  test("abort at any time before the decision", () => {
    assert.equal(transcript(abort), "lose tell-abort aborted");
    assert.equal(transcript(vote, abort), "ask lose tell-abort aborted");
    assert.equal(transcript(vote, yes(1), yes(2), abort, decided), "ask agree lose tell-abort aborted");
  });

  test("leave it to the log from the decision on (TW2)", () => {
    const deciding = [vote, yes(1), yes(2), decided];
    assert.equal(transcript(...deciding, abort, no(1)), "ask agree deciding");
    assert.equal(transcript(...deciding, abort, durable), "ask agree committed");
    assert.equal(transcript(...deciding, dropped), "ask agree lose tell-abort aborted");
    assert.equal(transcript(...deciding, durable, dropped, abort), "ask agree committed");
  });

  test("never tell an abort of what is committed, nor commit without every yes", () => {
    const slots = [1, 2, 3];
    const event = fc.oneof(
      fc.constantFrom<PhaseEvent>(abort, decided, durable, dropped, { type: "vote", slots }),
      fc.constantFrom(...slots).map(yes),
      fc.constantFrom(...slots).map(no),
    );
    fc.assert(
      fc.property(fc.array(event, { maxLength: 30 }), (events) => {
        let phase: Phase = { kind: "running" };
        let isAborted = false;
        const heard = new Set<number>();
        for (const each of events) {
          const wasVoting = phase.kind === "voting";
          const next = step(phase, each);
          phase = next.phase;
          if (wasVoting && each.type === "voted" && each.isYes) heard.add(each.slot);
          isAborted ||= next.effects.includes("tell-abort");
          if (phase.kind === "committed") assert.equal(heard.size, slots.length);
          assert.ok(!(isAborted && phase.kind !== "aborted"));
        }
      }),
    );
  });
});
