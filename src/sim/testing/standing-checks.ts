/**
 * What must hold of every system on a cluster, whatever it is for: checked without any knowledge of it.
 *
 * ST1  A request takes hold at most once: no entity's history has more calls of a command than were made (G6).
 * ST2  An entity's versions grow by one with each change, from 1 in each generation, and its newest is the one that its state has.
 * ST3  What was there stays: an entity that was seen in a version has the same state in that version ever after (G1, G8).
 * ST4  All nodes give one answer: strong reads through each of them agree, and copies come to it within `convergeMs` (G4, G7).
 */
import type { Value } from "../../base/value.ts";
import { OnefoldError } from "../../base/errors.ts";
import { stringifyTaggedJson } from "../../base/tagged-json.ts";
import type { SystemDefinition } from "../../entity/definition.ts";
import type { EntityAddress, HistoryItem, ReadOptions, Service, StateReply } from "../../entity/service.ts";
import type { ServingNode, SimulatedCluster } from "../cluster/simulated-cluster.ts";
import type { Scheduler } from "../scheduler.ts";
import type { PatientService } from "./patient-service.ts";
import { BrokenPromise } from "./simulation.ts";
import { developer } from "./system-work.ts";

const convergeMs = 60_000;
const pollMs = 100;
/** Of each kind; more would cost more than they show. */
const entitiesMax = 50;
const pageLimit = 1000;

export interface StandingChecksOptions {
  readonly cluster: SimulatedCluster;
  readonly scheduler: Scheduler;
  readonly system: SystemDefinition;
}

/** What is known of an entity that is not there. */
const absent = undefined;
type Known = StateReply | typeof absent;

export class StandingChecks {
  readonly #options: StandingChecksOptions;
  /** How often a command of an entity was asked for. */
  readonly #sent = new Map<string, number>();
  /** By entity, generation and version. */
  readonly #seen = new Map<string, string>();
  checks = 0;

  constructor(options: StandingChecksOptions) {
    this.#options = options;
  }

  /** A workload is about to send a command for the first time. */
  sent(address: EntityAddress, command: string): void {
    const key = `${nameOf(address)} ${command}`;
    this.#sent.set(key, (this.#sent.get(key) ?? 0) + 1);
  }

  /** Throws `BrokenPromise`. Nothing must go wrong meanwhile; messages and timers may still arrive. */
  async judge(service: PatientService): Promise<void> {
    for (const kind of this.#options.system.entities.keys()) {
      const { ids } = await service.read((node, patient) =>
        node.list(kind, { principal: developer, limit: entitiesMax, ...patient }),
      );
      for (const id of ids) await this.#judgeEntity(service, { kind, id });
    }
  }

  /** A strong read, answered in the end. */
  stateOf(service: PatientService, address: EntityAddress): Promise<Known> {
    return service.read((node, patient) => readState(node, address, { principal: developer, ...patient }));
  }

  async #judgeEntity(service: PatientService, address: EntityAddress): Promise<void> {
    this.checks++;
    const known = await this.stateOf(service, address);
    const items = await this.#historyOf(service, address);
    this.#judgeCounts(address, items);
    if (items !== undefined) this.#judgeVersions(address, items, known);
    if (known !== absent) await this.#judgeAgreement(address, known);
  }

  /** Oldest first; undefined where the older ones have been trimmed. */
  async #historyOf(service: PatientService, address: EntityAddress): Promise<readonly HistoryItem[] | undefined> {
    const all: HistoryItem[] = [];
    let cursor: string | undefined;
    do {
      const options = { principal: developer, limit: pageLimit, ...(cursor === undefined ? {} : { cursor }) };
      const page = await service.read(async (node, patient) => {
        try {
          return await node.history(address, { ...options, ...patient });
        } catch (error) {
          // It was deleted between the list and this.
          if (error instanceof OnefoldError && error.code === "not-found") return undefined;
          throw error;
        }
      });
      if (page === undefined || page.trimmed) return undefined;
      all.push(...page.items);
      ({ cursor } = page);
    } while (cursor !== undefined);
    return all.reverse();
  }

  /** ST1. */
  #judgeCounts(address: EntityAddress, items: readonly HistoryItem[] | undefined): void {
    const counts = new Map<string, number>();
    for (const { by, command, subject } of items ?? []) {
      if (by !== "call" || subject !== developer.subject) continue;
      counts.set(command, (counts.get(command) ?? 0) + 1);
    }
    for (const [command, count] of counts) {
      const sent = this.#sent.get(`${nameOf(address)} ${command}`) ?? 0;
      if (count > sent)
        fail("twice", `${nameOf(address)}: ${command} took hold ${count} times, and was asked for ${sent} times.`);
    }
  }

  /** ST2, ST3. */
  #judgeVersions(address: EntityAddress, items: readonly HistoryItem[], known: Known): void {
    const name = nameOf(address);
    let previous: HistoryItem | undefined;
    for (const item of items) {
      const { generation, version, state } = item;
      const isNext =
        previous === undefined
          ? version === 1
          : generation === previous.generation
            ? version === previous.version + 1
            : generation === previous.generation + 1 && version === 1;
      if (!isNext) {
        const before = previous === undefined ? "nothing" : `${previous.generation}.${previous.version}`;
        fail("versions", `${name}: version ${generation}.${version} (generation, version) came behind ${before}.`);
      }
      if (state !== undefined && state !== null) this.#see(address, { generation, version, state });
      previous = item;
    }
    if (known === absent) return;
    this.#see(address, known);
    // What came behind the read is no matter.
    const isThere = items.some(
      ({ generation, version }) => generation === known.generation && version === known.version,
    );
    if (!isThere)
      fail("versions", `${name} is in version ${known.generation}.${known.version}, which its history lacks.`);
  }

  /** ST3. */
  #see(
    address: EntityAddress,
    seen: { readonly generation: number; readonly version: number; readonly state: Value },
  ): void {
    const name = `${nameOf(address)} in version ${seen.generation}.${seen.version}`;
    const text = stringifyTaggedJson(seen.state);
    const before = this.#seen.get(name);
    if (before !== undefined && before !== text) fail("changed-past", `${name} was ${before} and is ${text}.`);
    this.#seen.set(name, text);
  }

  /** ST4. */
  async #judgeAgreement(address: EntityAddress, known: StateReply): Promise<void> {
    const { cluster, scheduler } = this.#options;
    const endMs = scheduler.nowMs + convergeMs;
    for (const node of cluster.serving) {
      for (const read of ["strong", "eventual"] as const) {
        while (!(await this.#hasReached(node, address, known, read))) {
          if (scheduler.nowMs > endMs) {
            const what = `${nameOf(address)} in version ${known.generation}.${known.version}`;
            fail("divergence", `${node.name} does not come to ${what} (${read} reads) within ${convergeMs} ms.`);
          }
          await scheduler.sleep(pollMs);
        }
      }
    }
  }

  async #hasReached(
    node: ServingNode,
    address: EntityAddress,
    known: StateReply,
    read: "strong" | "eventual",
  ): Promise<boolean> {
    let found: Known;
    try {
      found = await readState(node.service, address, { principal: developer, read });
    } catch (error) {
      if (!(error instanceof OnefoldError) || error.retry === "never") throw error;
      return false;
    }
    if (found !== absent) this.#see(address, found);
    // It may have been deleted since.
    if (found === absent) return read === "strong";
    if (found.generation !== known.generation) return found.generation > known.generation;
    if (found.version >= known.version) return true;
    if (read === "strong") {
      const versions = `${found.generation}.${found.version} behind ${known.generation}.${known.version}`;
      fail("stale-read", `A strong read of ${nameOf(address)} through ${node.name} gave version ${versions}.`);
    }
    return false;
  }
}

async function readState(service: Service, address: EntityAddress, options: ReadOptions): Promise<Known> {
  try {
    return await service.state(address, options);
  } catch (error) {
    if (error instanceof OnefoldError && error.code === "not-found") return absent;
    throw error;
  }
}

function nameOf({ kind, id }: EntityAddress): string {
  return `${kind}/${id}`;
}

function fail(reason: string, what: string): never {
  throw new BrokenPromise(reason, `${what} This is a bug in Onefold; report it.`);
}
