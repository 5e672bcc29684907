/**
 * Damage, simulated: a node works, ends, and something happens to its files while it is down. Opened again it must name the
 * damage or serve exactly what was there (G8).
 *
 * B1  Whatever is served is the state after some batch of the log that was written, and no record differs from it.
 * B2  That batch is no older than what anything that is left remembers: the anchor, the store's position.
 * B3  Damage to what can be rebuilt (the store, the newest snapshot) is repaired, with nothing lost.
 * B4  Damage that was not found at the start is named by the scrub, or is in bytes that mean nothing.
 */
import { SeededRandom } from "../../base/random.ts";
import { OnefoldError } from "../../base/errors.ts";
import { equalBytes } from "../../base/bytes.ts";
import { decodeAnchorFile } from "../../log/engine/segment/anchors.ts";
import { EmbeddedNode } from "../../runtime/embedded.ts";
import { memoryStore } from "../../store/engine/memory.ts";
import { openDiskBlobs } from "../../store/blobs.ts";
import { readNewest } from "../../store/manifest.ts";
import { FaultCounts } from "../faults.ts";
import { type SimulatedHost, SimulatedNode } from "../host.ts";
import { Scheduler } from "../scheduler.ts";
import { simulatedPrincipal } from "./client.ts";
import type { EntityName, Memoir } from "./plan.ts";
import { entityNames, makeSystemUnderTest } from "./system-under-test.ts";

export const damageKinds = [
  "log-bit",
  "log-cut",
  "log-file-lost",
  "anchor-bit",
  "anchor-lost",
  "snapshot-bit",
  "snapshots-lost",
  "newest-manifest-bit",
  "rollback",
  "stale-file",
  "store-lost",
  "store-file",
  "store-value",
] as const;

export type DamageKind = (typeof damageKinds)[number];

export interface DamageReport {
  readonly seed: string;
  readonly kind: DamageKind;
  /** What became of it: `named` at the start, `whole`, `shortened` within what G8 permits, `scrubbed` (named later). */
  readonly outcome: "named" | "whole" | "shortened" | "scrubbed";
  readonly wrongs: readonly string[];
  readonly counts: FaultCounts;
}

const KiB = 1024;
/** The scrub begins a minute after the start. */
const scrubbedAfterMs = 100_000;

interface Written {
  readonly name: EntityName;
  readonly tag: string;
  readonly sequence: number;
}

export async function simulateDamage(seed: string): Promise<DamageReport> {
  const random = new SeededRandom(seed);
  const kind = random.pick(damageKinds);
  const run = new DamageRun(seed, kind, random);
  try {
    await run.scheduler.complete(run.run());
  } catch (error) {
    run.wrongs.push(error instanceof Error ? (error.stack ?? error.message) : String(error));
  }
  const { outcome, wrongs, counts } = run;
  return { seed, kind, outcome, wrongs, counts };
}

class DamageRun {
  readonly scheduler = new Scheduler({ eventsMax: 2_000_000 });
  readonly counts = new FaultCounts();
  readonly wrongs: string[] = [];
  outcome: DamageReport["outcome"] = "whole";
  readonly #kind: DamageKind;
  readonly #random: SeededRandom;
  readonly #node: SimulatedNode;
  readonly #store;
  readonly #system;
  #host: SimulatedHost | undefined;
  readonly #written: Written[] = [];
  readonly #hashes = new Map<number, Uint8Array>();

  constructor(seed: string, kind: DamageKind, random: SeededRandom) {
    this.#kind = kind;
    this.#random = random;
    this.#node = new SimulatedNode({
      scheduler: this.scheduler,
      random: new SeededRandom(`${seed}/node`),
      counts: this.counts,
    });
    const timers = {
      after: (delayMs: number, run: () => void) => this.#host!.timers.after(delayMs, run),
      soon: (run: () => void) => this.#host!.timers.soon(run),
    };
    this.#store = memoryStore({ timers, random: random.fork("store") });
    this.#system = makeSystemUnderTest({ spend: (durationMs) => this.#host!.guard.spend(durationMs) });
  }

  async run(): Promise<void> {
    const random = this.#random;
    const node = await this.#open();
    const count = random.between(5, random.pick([30, 150]));
    const imageAt = random.integer(count);
    const snapshotEvery = random.pick([1000, 10, 25]);
    for (let i = 0; i < count; i++) {
      await this.#write(node, i);
      if (i % snapshotEvery === snapshotEvery - 1) await node.snapshot();
      if (random.chance(0.1)) await this.scheduler.sleep(random.between(1, 1500));
      if (i !== imageAt) continue;
      if (this.#kind === "rollback") this.#image = this.#node.disk.snapshotImage();
      for (const path of this.#paths("log/")) this.#oldContents.set(path, this.#node.disk.content(path));
    }
    for await (const record of node.log.scan(node.log.firstSequence)) this.#hashes.set(record.sequence, record.hash);
    const expectedEnd = node.log.end!.sequence;
    const isClean = random.chance(0.5);
    if (isClean) await node.close();
    const stored = isClean ? expectedEnd : node.service.health().appliedSequence;
    const newest = await this.#newestManifest();
    this.#node.crash();
    this.#store.crash();
    const anchored = this.#anchoredSequence();
    if (this.#kind === "stale-file") await this.#bringBackOldFile();
    const remembers = this.#damage(newest, { stored, anchored });
    await this.#judge(expectedEnd, remembers);
  }

  /** Files of the log as they were at some moment. */
  readonly #oldContents = new Map<string, Uint8Array>();
  #image: ReturnType<SimulatedNode["disk"]["snapshotImage"]> | undefined;

  async #write(node: EmbeddedNode, index: number): Promise<void> {
    const name = this.#random.pick(entityNames.filter(({ kind }) => kind !== "mortal"));
    const tag = `w${index}`;
    const put = [[`k${index % 7}`, index]] as const;
    const reply = await node.service.command(name, "run", { tag, add: 1, put }, { principal: simulatedPrincipal });
    this.#written.push({ name, tag, sequence: reply.sequence });
  }

  #open(): Promise<EmbeddedNode> {
    const host = this.#node.start();
    this.#host = host;
    return EmbeddedNode.open({
      system: this.#system,
      host,
      storeEngine: this.#store,
      limits: {
        batchBytesMax: 12 * KiB,
        effectsBytesMax: 8 * KiB,
        stateBytesMax: 6 * KiB,
        itemBytesMax: 4 * KiB,
        outputBytesMax: 6 * KiB,
      },
      segmentBytes: 16 * KiB,
      reserveBytes: 0,
      snapshotBytes: 1024 * KiB,
    });
  }

  async #newestManifest(): Promise<string | undefined> {
    const [newest] = await readNewest(await openDiskBlobs({ disk: this.#host!.disk, directory: "snapshots" }));
    return newest;
  }

  #anchoredSequence(): number {
    const path = "log/anchors";
    return this.#paths("log/").includes(path)
      ? (decodeAnchorFile(this.#node.disk.content(path)).slot.anchor?.sequence ?? 0)
      : 0;
  }

  #paths(prefix: string): readonly string[] {
    return this.#node.disk.paths().filter((path) => path.startsWith(prefix));
  }

  /** Does the damage; returns the sequence that something left must remember, and whether nothing may be lost or refused. */
  #damage(newest: string | undefined, known: { stored: number; anchored: number }): Remembers {
    const random = this.#random;
    const { disk } = this.#node;
    const floor = Math.max(known.stored, known.anchored);
    const segments = this.#paths("log/").filter((path) => path.endsWith(".segment"));
    const blobs = this.#paths("snapshots/");
    switch (this.#kind) {
      case "log-bit":
        this.#flip(random.pick(segments));
        if (random.chance(0.3)) return this.#loseStoreToo(known);
        return { floor, mustOpen: false };
      case "log-cut": {
        const path = random.pick(segments);
        disk.cutFile(path, random.integer(this.#usedBytes(path) + 1));
        return { floor, mustOpen: false };
      }
      case "log-file-lost":
        disk.loseFile(random.pick(segments));
        return { floor, mustOpen: false };
      case "anchor-bit":
        this.#flip("log/anchors");
        // The other slot is an older anchor, and the store's position is as good.
        return { floor: known.stored, mustOpen: false };
      case "anchor-lost":
        disk.loseFile("log/anchors");
        return { floor: known.stored, mustOpen: false };
      case "snapshot-bit":
        if (blobs.length > 0) this.#flip(random.pick(blobs));
        if (random.chance(0.7)) return this.#loseStoreToo(known);
        return { floor, mustOpen: true };
      case "snapshots-lost":
        for (const path of blobs) if (random.chance(0.5)) disk.loseFile(path);
        if (random.chance(0.5)) return this.#loseStoreToo(known);
        return { floor, mustOpen: true };
      case "newest-manifest-bit":
        if (newest !== undefined) this.#flip(`snapshots/${newest}`);
        this.#store.lose();
        return { floor: known.anchored, mustOpen: true };
      case "rollback":
        disk.restoreImage(this.#image!);
        return { floor, mustOpen: false };
      case "stale-file":
        // An old anchor file is as good as a lost one, which the store's position makes up for.
        return { floor: known.stored, mustOpen: false };
      case "store-lost":
        this.#store.lose();
        return { floor: known.anchored, mustOpen: true };
      case "store-file":
        this.#store.damageFile();
        return { floor: known.anchored, mustOpen: true };
      case "store-value":
        for (let count = random.between(1, 5); count > 0; count--) this.#store.damageValue();
        return { floor, mustOpen: true };
    }
  }

  #loseStoreToo({ anchored }: { anchored: number }): Remembers {
    this.#store.lose();
    return { floor: anchored, mustOpen: false };
  }

  /** One file of the log becomes what it was before, as after a restore that went wrong in the middle. */
  async #bringBackOldFile(): Promise<void> {
    const present = this.#paths("log/").filter((path) => this.#oldContents.has(path));
    const path = this.#random.pick(present);
    const disk = this.#node.start().disk;
    const file = await disk.open(path);
    await file.writeDurable(0, this.#oldContents.get(path)!);
    await file.close();
    this.#node.crash();
    this.counts.add("rollback");
  }

  #usedBytes(path: string): number {
    const content = this.#node.disk.content(path);
    return content.findLastIndex((byte) => byte !== 0) + 1;
  }

  /** Mostly in what is used, sometimes beyond. */
  #flip(path: string): void {
    const sizeBytes = this.#node.disk.fileSizeBytes(path);
    const usedBytes = this.#random.chance(0.95) ? this.#usedBytes(path) : sizeBytes;
    if (usedBytes > 0) this.#node.disk.flip(path, this.#random.integer(8 * usedBytes));
  }

  // --------------------------------------------------------------------------------------------------------------- judging

  async #judge(expectedEnd: number, { floor, mustOpen }: Remembers): Promise<void> {
    let node: EmbeddedNode;
    try {
      node = await this.#open();
    } catch (error) {
      if (!(error instanceof OnefoldError) || error.code !== "damaged") throw error;
      if (mustOpen) this.wrongs.push(`it can be repaired, and was refused: ${error.stack}`);
      this.outcome = "named";
      return;
    }
    const end = node.log.end!.sequence;
    if (end > expectedEnd) this.wrongs.push(`the log ends at ${end}; only ${expectedEnd} were written`);
    if (end < floor) this.wrongs.push(`the log was served up to ${end}, though ${floor} was remembered`);
    if (end < expectedEnd) this.outcome = "shortened";
    await this.#checkEntities(node, end);
    const isDamaged = await this.#checkRecords(node, end);
    await this.scheduler.sleep(scrubbedAfterMs);
    if (isDamaged) {
      this.outcome = "scrubbed";
      const { problems } = node.service.health();
      if (!problems.some((problem) => problem.includes("damaged"))) {
        this.wrongs.push(`damage in the log was not named within ${scrubbedAfterMs} ms: ${JSON.stringify(problems)}`);
      }
    }
    await this.#checkEntities(node, end);
    await this.#write(node, 1_000_000);
    await node.close();
  }

  /** B1, for what users see. A value that is found damaged only now is repaired while the node runs. */
  async #checkEntities(node: EmbeddedNode, end: number): Promise<void> {
    for (const name of entityNames) {
      const expected = this.#written.filter(
        ({ name: { kind, id }, sequence }) => kind === name.kind && id === name.id && sequence <= end,
      );
      const memoir = await this.#memoir(node, name);
      const tags = memoir.journal.map(([tag]) => tag).join();
      const expectedTags = expected.map(({ tag }) => tag).join();
      if (tags !== expectedTags || memoir.balance !== expected.length || memoir.count !== expected.length) {
        this.wrongs.push(`${name.kind}/${name.id} at ${end} remembers ${tags}, it must be ${expectedTags}`);
      }
      const items = new Map(expected.map(({ tag }) => [`k${Number(tag.slice(1)) % 7}`, Number(tag.slice(1))]));
      const expectedItems = JSON.stringify([...items].sort(([a], [b]) => (a < b ? -1 : 1)));
      if (JSON.stringify(memoir.items) !== expectedItems) {
        this.wrongs.push(
          `${name.kind}/${name.id} has items ${JSON.stringify(memoir.items)}, must have ${expectedItems}`,
        );
      }
    }
  }

  async #memoir(node: EmbeddedNode, name: EntityName): Promise<Memoir> {
    for (let attempt = 0; ; attempt++) {
      try {
        const { output } = await node.service.query(name, "memoir", undefined, { principal: simulatedPrincipal });
        return output as unknown as Memoir;
      } catch (error) {
        const isPassing = error instanceof OnefoldError && (error.code === "damaged" || error.code === "not-ready");
        if (!isPassing || this.#kind !== "store-value" || attempt >= 20) throw error;
        await this.scheduler.sleep(50);
      }
    }
  }

  /** B1, for the log. True if some record can't be read any more. */
  async #checkRecords(node: EmbeddedNode, end: number): Promise<boolean> {
    let isDamaged = false;
    for (let sequence = node.log.firstSequence; sequence <= end; sequence++) {
      try {
        const record = await node.log.read(sequence);
        const hash = this.#hashes.get(sequence);
        if (hash !== undefined && (record === undefined || !equalBytes(record.hash, hash))) {
          this.wrongs.push(`record ${sequence} is another one than was written`);
        }
      } catch (error) {
        if (!(error instanceof OnefoldError) || error.code !== "damaged") throw error;
        isDamaged = true;
      }
    }
    return isDamaged;
  }
}

interface Remembers {
  readonly floor: number;
  readonly mustOpen: boolean;
}
