/** Each standing check finds what it is for: against nodes that answer what the test says. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { OnefoldError } from "../../base/errors.ts";
import type { SystemDefinition } from "../../entity/definition.ts";
import type { HistoryItem, Service, StateReply } from "../../entity/service.ts";
import type { SimulatedCluster } from "../cluster/simulated-cluster.ts";
import { Scheduler } from "../scheduler.ts";
import type { PatientService } from "./patient-service.ts";
import { StandingChecks } from "./standing-checks.ts";

const address = { kind: "tally", id: "one" };

function item(version: number, more: Partial<HistoryItem> = {}): HistoryItem {
  const made = {
    sequence: version,
    timeMs: 0,
    generation: 1,
    version,
    command: "add",
    subject: "simulation",
    itemCount: 0,
  };
  return { ...made, by: "call", state: version, ...more };
}

function reply(version: number, more: Partial<StateReply> = {}): StateReply {
  return { state: version, generation: 1, version, schemaVersion: 1, sequence: version, ...more };
}

interface World {
  /** Oldest first. */
  readonly items: readonly HistoryItem[];
  /** What reads give, by node; the first node is asked for the state first. */
  readonly states: readonly { readonly strong: StateReply; readonly eventual?: StateReply }[];
  readonly sent: number;
}

async function judged({ items, states, sent }: World): Promise<string> {
  const scheduler = new Scheduler();
  const services = states.map(
    ({ strong, eventual = strong }): Partial<Service> => ({
      list: async () => ({ ids: [address.id] }),
      history: async () => ({ items: items.toReversed(), trimmed: false }),
      state: async (_, { read }) => (read === "eventual" ? eventual : strong),
    }),
  );
  const serving = services.map((service, index) => ({ name: `n${index + 1}`, service }));
  const checks = new StandingChecks({
    cluster: { serving } as unknown as SimulatedCluster,
    scheduler,
    system: { entities: new Map([[address.kind, {}]]) } as unknown as SystemDefinition,
  });
  for (let count = 0; count < sent; count++) checks.sent(address, "add");
  const patient = { read: (ask: (node: unknown, patient: object) => unknown) => ask(services[0], {}) };
  try {
    await scheduler.complete(checks.judge(patient as unknown as PatientService));
  } catch (error) {
    if (error instanceof Error && "reason" in error) return String(error.reason);
    throw error;
  }
  return "well";
}

const two = { items: [item(1), item(2)], states: [{ strong: reply(2) }, { strong: reply(2) }], sent: 2 };

describe("what must hold of every system", () => {
  test("holds where all agree, also if more has come meanwhile", async () => {
    assert.equal(await judged(two), "well");
    assert.equal(await judged({ ...two, sent: 3 }), "well");
    assert.equal(await judged({ ...two, states: [{ strong: reply(2) }, { strong: reply(3) }] }), "well");
    assert.equal(await judged({ ...two, items: [item(1), item(2), item(3, { by: "timer" })] }), "well");
  });

  test("is broken by a command that took hold more often than it was asked for (ST1)", async () => {
    assert.equal(await judged({ ...two, sent: 1 }), "twice");
  });

  test("is broken by versions that are left out, come twice, or that the history lacks (ST2)", async () => {
    const three = { ...two, sent: 9 };
    assert.equal(await judged({ ...three, items: [item(1), item(3)] }), "versions");
    assert.equal(await judged({ ...three, items: [item(1), item(1), item(2)] }), "versions");
    assert.equal(await judged({ ...three, items: [item(2)] }), "versions");
    assert.equal(await judged({ ...three, items: [item(1)] }), "versions");
    assert.equal(await judged({ ...three, items: [item(1), item(2), item(1, { generation: 3 })] }), "versions");
  });

  test("is broken by a state that is another one than it was in that version (ST3)", async () => {
    assert.equal(await judged({ ...two, items: [item(1), item(2, { state: 7 })] }), "changed-past");
    const other = { strong: reply(2), eventual: reply(2, { state: 9 }) };
    assert.equal(await judged({ ...two, states: [{ strong: reply(2) }, other] }), "changed-past");
  });

  test("is broken by a strong read that is behind, and by a copy that never comes (ST4)", async () => {
    assert.equal(await judged({ ...two, states: [{ strong: reply(2) }, { strong: reply(1) }] }), "stale-read");
    const behind = { strong: reply(2), eventual: reply(1) };
    assert.equal(await judged({ ...two, states: [{ strong: reply(2) }, behind] }), "divergence");
  });

  test("lets errors through that no fault explains", async () => {
    const failing = { ...two, states: [{ strong: reply(2) }, { strong: reply(2) }] };
    const broken = Object.defineProperty({ ...failing }, "items", {
      get: () => {
        throw new OnefoldError("damaged", "planted");
      },
    });
    await assert.rejects(judged(broken), { code: "damaged" });
  });
});
