/**
 * What goes wrong in a run, and when: a list that a seed gives, that can be kept, and that gives the same schedule again.
 *
 * PL1 Each kind comes once before any comes twice, so that a run that is long enough has all of them.
 * PL2 Between the end of one fault and the next there is time in which calls can go on: what one fault does is then seen by itself. Some
 *     faults are joined by a second one, which strikes in their middle.
 */
import { z } from "zod";
import type { SeededRandom } from "../../src/base/random.ts";
import { between, clients, type Party, type Way } from "./links.ts";

/** What each kind does; for people. */
export const faultKinds = {
  "kill-node": "SIGKILL of a node, which is started again",
  "kill-server": "SIGKILL of a server of the engine, which is started again",
  "pause-node": "SIGSTOP of a node, then SIGCONT",
  "pause-server": "SIGSTOP of a server, then SIGCONT",
  "stop-node": "SIGTERM of a node, which hands over and is started again",
  "stop-server": "SIGTERM of a server, which is started again",
  "kill-all": "SIGKILL of every node and server at once, then all are started again",
  "cut-node": "a node is cut off from all others, clients included",
  "cut-server": "a server is cut off from all others",
  split: "one node and one server are cut off from the others; clients reach both sides",
  "one-way": "what one party sends to its peers does not arrive, what they send to it does",
  delay: "a party's messages take longer, both ways",
  loss: "some of a party's packets get lost, both ways, and are sent again",
  "full-disk": "the disk of one server is full; then there is room, and the server is started again",
} as const;

export type FaultKind = keyof typeof faultKinds;
export const allFaultKinds = Object.keys(faultKinds) as readonly FaultKind[];

const strikeShape = z.strictObject({
  kind: z.enum(allFaultKinds as [FaultKind, ...FaultKind[]]),
  /** Since calls began. */
  atMs: z.number().nonnegative(),
  forMs: z.number().positive(),
  targets: z.array(z.string()).min(1),
  delayMs: z.number().optional(),
  lossRate: z.number().optional(),
});
const planShape = z.strictObject({ seed: z.string(), durationMs: z.number(), strikes: z.array(strikeShape) });

export type Strike = z.infer<typeof strikeShape>;
export type Plan = z.infer<typeof planShape>;

export interface PlanOptions {
  readonly random: SeededRandom;
  readonly durationMs: number;
  readonly kinds: readonly FaultKind[];
  readonly nodes: readonly Party[];
  readonly servers: readonly Party[];
  /** Whose disk can be filled. */
  readonly fullDiskServer: Party;
}

const calmMs = { first: 2000, min: 2000, max: 4500, afterAll: 6000 } as const;
/** An engine's election takes 4 to 9 s: what strikes its servers lasts long enough to see one. */
const lengthMs: Readonly<Record<FaultKind, readonly [number, number]>> = {
  "kill-node": [500, 4000],
  "kill-server": [500, 7000],
  "pause-node": [1500, 7000],
  "pause-server": [3000, 9000],
  "stop-node": [500, 3000],
  "stop-server": [500, 4000],
  "kill-all": [500, 2000],
  "cut-node": [2000, 9000],
  "cut-server": [3000, 11_000],
  split: [4000, 11_000],
  "one-way": [3000, 9000],
  delay: [3000, 7000],
  loss: [3000, 7000],
  "full-disk": [3000, 7000],
};
const joinedShare = 0.2;

export function makePlan(options: PlanOptions): Plan {
  const { random, durationMs, kinds } = options;
  const strikes: Strike[] = [];
  let left: FaultKind[] = [];
  for (let atMs: number = calmMs.first; ; ) {
    const countBefore = strikes.length;
    if (left.length === 0) left = random.shuffle(kinds);
    const kind = left.pop();
    if (kind === undefined) break;
    const strike = strikeOf(kind, atMs, options);
    const endMs = strike.atMs + strike.forMs;
    if (endMs > durationMs) break;
    strikes.push(strike);
    const joining = left.at(-1);
    if (joining !== undefined && random.chance(joinedShare)) {
      const joined = strikeOf(joining, Math.round(atMs + strike.forMs / 2), options);
      if (joined.atMs + joined.forMs <= durationMs && !joined.targets.some((each) => strike.targets.includes(each))) {
        strikes.push(joined);
        left.pop();
      }
    }
    const added = strikes.slice(countBefore);
    const lastEndMs = Math.max(...added.map((each) => each.atMs + each.forMs));
    const isStarting = added.some((each) => each.kind === "kill-all");
    atMs = lastEndMs + random.between(calmMs.min, calmMs.max) + (isStarting ? calmMs.afterAll : 0);
  }
  return { seed: random.seed, durationMs, strikes };
}

function strikeOf(kind: FaultKind, atMs: number, options: PlanOptions): Strike {
  const { random, nodes, servers, fullDiskServer } = options;
  const [shortest, longest] = lengthMs[kind];
  const common = { kind, atMs, forMs: random.between(shortest, longest) };
  switch (kind) {
    case "kill-node":
    case "pause-node":
    case "stop-node":
    case "cut-node":
      return { ...common, targets: [random.pick(nodes)] };
    case "kill-server":
    case "pause-server":
    case "stop-server":
    case "cut-server":
      return { ...common, targets: [random.pick(servers)] };
    case "kill-all":
      return { ...common, targets: [...nodes, ...servers] };
    case "split":
      return { ...common, targets: [random.pick(nodes), random.pick(servers)] };
    case "one-way":
      return { ...common, targets: [random.pick([...nodes, ...servers])] };
    case "delay":
      return { ...common, targets: [random.pick([...nodes, ...servers])], delayMs: random.between(20, 250) };
    case "loss":
      return { ...common, targets: [random.pick([...nodes, ...servers])], lossRate: random.between(5, 30) / 100 };
    case "full-disk":
      return { ...common, targets: [fullDiskServer] };
  }
}

/** The ways that a strike on the network is about. */
export function waysOf({ kind, targets }: Strike, parties: readonly Party[]): readonly Way[] {
  const others = parties.filter((party) => !targets.includes(party));
  if (kind === "one-way") return targets.flatMap((from) => others.map((to) => ({ from, to })));
  const isForClients = kind === "cut-node" || kind === "delay" || kind === "loss";
  return between(targets, isForClients ? [...others, clients] : others);
}

/** Throws an error that says what is wrong with it. */
export function parsePlan(text: string): Plan {
  return planShape.parse(JSON.parse(text));
}

/** `kill-node n2`: for people. */
export function strikeText({ kind, targets, delayMs, lossRate }: Strike): string {
  const how =
    delayMs !== undefined ? ` ${delayMs} ms` : lossRate !== undefined ? ` ${Math.round(lossRate * 100)} %` : "";
  return kind === "kill-all" ? kind : `${kind} ${targets.join("+")}${how}`;
}
