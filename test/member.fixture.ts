/** Cluster nodes of one process, each with its real port, peers' network, disk and LMDB, over an engine in memory. */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { bank } from "../examples/bank/bank.ts";
import type { Trace } from "../src/host/host.ts";
import { NodeDisk } from "../src/host/node/disk.ts";
import { MemoryEngineServer } from "../src/log/engine/memory-engine.ts";
import type { ClusterEngine } from "../src/runtime/cluster-engine.ts";
import { type ServedMember, type ServeMemberOptions, serveMember } from "../src/runtime/serve-member.ts";
import { type Blobs, openDiskBlobs } from "../src/store/blobs.ts";

export class MemberRig {
  readonly directory: string;
  readonly server = new MemoryEngineServer();
  readonly lines: {
    readonly level: string;
    readonly message: string;
    readonly fields: Readonly<Record<string, unknown>> | undefined;
  }[] = [];
  readonly #open = new Map<string, ServedMember>();
  readonly #blobs = new Map<string, Promise<Blobs>>();

  private constructor(directory: string) {
    this.directory = directory;
  }

  /** `connectEngine`: another engine than the one in memory. */
  static async make(connectEngine?: () => Promise<ClusterEngine>): Promise<MemberRig> {
    const rig = new MemberRig(await mkdtemp(join(tmpdir(), "onefold-member-")));
    if (connectEngine !== undefined) rig.connectEngine = connectEngine;
    return rig;
  }

  readonly trace: Trace = (level, message, fields) => {
    this.lines.push({ level, message, fields });
  };

  /** Blobs of one engine: the same place gives the same blobs, whoever asks. */
  connectEngine = async (): Promise<ClusterEngine> => {
    const logs = this.server.connect();
    const disk = new NodeDisk(join(this.directory, "blobs"));
    return {
      logs,
      blobs: (place) => {
        let opening = this.#blobs.get(place);
        if (opening === undefined) {
          opening = openDiskBlobs({ disk, directory: place });
          this.#blobs.set(place, opening);
        }
        const blobs = opening;
        return {
          put: async (bytes) => (await blobs).put(bytes),
          get: async (address) => (await blobs).get(address),
          list: async () => (await blobs).list(),
          delete: async (address) => (await blobs).delete(address),
          readPointer: async (name) => (await blobs).readPointer(name),
          setPointer: async (name, bytes) => (await blobs).setPointer(name, bytes),
        };
      },
      close: () => logs.close(),
    };
  };

  /** Starts a node on ports of its own, and waits until it is a member. */
  async start(name: string, options: Partial<ServeMemberOptions> = {}): Promise<ServedMember> {
    const served = await this.listen(name, options);
    await served.joined;
    return served;
  }

  /** Starts a node, and waits for nothing but its port. */
  async listen(name: string, options: Partial<ServeMemberOptions> = {}): Promise<ServedMember> {
    const served = await serveMember({
      system: bank,
      dataDirectory: this.dataDirectory(name),
      name,
      address: "127.0.0.1:0",
      hostname: "127.0.0.1",
      port: 0,
      shardCount: 4,
      connectEngine: () => this.connectEngine(),
      trace: this.trace,
      ...options,
    });
    this.#open.set(name, served);
    return served;
  }

  dataDirectory(name: string): string {
    return join(this.directory, name);
  }

  async close(): Promise<void> {
    await Promise.all([...this.#open.values()].map((served) => served.close({ noticeMs: 0 })));
    await rm(this.directory, { recursive: true, force: true });
  }
}

/** Looks at a condition until it holds, within a bound. */
export async function until(what: string, holds: () => boolean | Promise<boolean>, withinMs = 30_000): Promise<void> {
  const endMs = Date.now() + withinMs;
  while (!(await holds())) {
    assert.ok(Date.now() < endMs, `it never came to be: ${what}`);
    await sleep(20);
  }
}
