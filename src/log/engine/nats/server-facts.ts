/**
 * What the start gate must know of the servers, and no client of an ordinary account is told: each one's version, and whether it syncs before
 * it acknowledges. Asked over the system account (`$SYS.REQ.SERVER.PING.VARZ`), which every server answers for itself; the connection
 * is closed afterwards.
 *
 * A server that is down can't be asked. As long as a majority answers, a node may start: the others are asked when the next one does.
 * Servers that have just started don't know yet how many they are; once they have a leader they do. Until then nothing is said of them.
 */
import type { Limits } from "../../../base/limits.ts";
import { EngineConnection, type NatsAddress } from "./connection.ts";
import { regionTag } from "./names.ts";
import { unavailable } from "./requests.ts";
import { isVersionAtLeast, parseServerVersion, versionMin } from "./server-version.ts";

/** One server's own word. */
export interface ServerFacts {
  readonly name: string;
  readonly version: string;
  readonly syncsAlways: boolean;
  readonly tags: readonly string[];
  /** Of the cluster, as it knows them, itself included. */
  readonly members: readonly string[];
  /** Whether it knows who leads them. True for one that is alone by design. */
  readonly knowsLeader: boolean;
}

/** Part of what a server answers. */
interface ServerAnswer {
  readonly server?: { readonly name?: string; readonly ver?: string };
  readonly data?: {
    readonly tags?: readonly string[];
    readonly jetstream?: {
      readonly config?: { readonly sync_always?: boolean };
      readonly meta?: { readonly leader?: string; readonly replicas?: readonly { readonly name: string }[] };
    };
  };
}

/** Throws `unavailable` where no majority of the servers answers, or none of them knows who leads. */
export async function askServers(address: NatsAddress, limits: Limits): Promise<readonly ServerFacts[]> {
  const connection = await EngineConnection.openOnce(address, limits);
  try {
    const answers = await connection.askAll("$SYS.REQ.SERVER.PING.VARZ", (given) => isComplete(factsOf(given)));
    const facts = factsOf(answers);
    if (facts.length > 0 && !facts.some(({ knowsLeader }) => knowsLeader)) {
      throw unavailable("The engine's servers have not elected a leader yet.");
    }
    const memberCount = membersOf(facts).size;
    if (facts.length * 2 <= memberCount || facts.length === 0) {
      throw unavailable(`Only ${facts.length} of the engine's ${memberCount} servers say how they are set up.`);
    }
    return facts;
  } finally {
    await connection.close();
  }
}

/** What of the servers is lax, as sentences for an operator. Throws `unavailable`. */
export async function laxitiesOfServers(
  address: NatsAddress,
  limits: Limits,
  needed: { readonly regions: readonly string[]; readonly replicaCount: number },
): Promise<readonly string[]> {
  const facts = await askServers(address, limits);
  const laxities: string[] = [];
  for (const { name, version, syncsAlways } of facts) {
    const parsed = parseServerVersion(version);
    if (parsed === undefined || !isVersionAtLeast(parsed, versionMin)) {
      laxities.push(`The server ${name} is version ${version}; before ${versionMin} acknowledged records may be lost.`);
    }
    if (!syncsAlways) {
      laxities.push(
        `The server ${name} acknowledges before it syncs; set "sync_interval: always" in its jetstream block.`,
      );
    }
  }
  const memberCount = membersOf(facts).size;
  if (memberCount < 3)
    laxities.push(
      `The engine has ${memberCount} server${memberCount === 1 ? "" : "s"}; fewer than 3 are no majority's.`,
    );
  laxities.push(...laxitiesOfRegions(facts, needed));
  return laxities;
}

/**
 * A region without servers enough can't be written to when it has to be: its logs can't be made. One that is down just now does not say what
 * it is tagged with, so each that does not answer may be the region's.
 */
export function laxitiesOfRegions(
  facts: readonly ServerFacts[],
  { regions, replicaCount }: { readonly regions: readonly string[]; readonly replicaCount: number },
): readonly string[] {
  const silentCount = membersOf(facts).size - facts.length;
  return regions.flatMap((region) => {
    const count = facts.filter(({ tags }) => tags.includes(regionTag(region))).length;
    if (count + silentCount >= replicaCount) return [];
    const servers = `${count} server${count === 1 ? "" : "s"}`;
    return `The region ${region} has ${servers} of the engine (server_tags: "${regionTag(region)}"); its logs are to be on ${replicaCount}.`;
  });
}

function factsOf(answers: readonly unknown[]): ServerFacts[] {
  const facts = new Map<string, ServerFacts>();
  for (const { server, data } of answers as readonly ServerAnswer[]) {
    const { config, meta } = data?.jetstream ?? {};
    // A server without JetStream keeps no logs.
    if (config === undefined || server?.name === undefined) continue;
    const { name, ver: version = "unknown" } = server;
    const members = [name, ...(meta?.replicas ?? []).map((replica) => replica.name)];
    const knowsLeader = meta === undefined || (meta.leader ?? "") !== "";
    const syncsAlways = config.sync_always === true;
    facts.set(name, { name, version, syncsAlways, tags: data?.tags ?? [], members, knowsLeader });
  }
  return [...facts.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

function membersOf(facts: readonly ServerFacts[]): ReadonlySet<string> {
  return new Set(facts.flatMap(({ members }) => members));
}

function isComplete(facts: readonly ServerFacts[]): boolean {
  return facts.length > 0 && facts.length === membersOf(facts).size;
}
