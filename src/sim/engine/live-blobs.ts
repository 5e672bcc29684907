/** Blobs of the simulated engine as one life of a node has them. Refused as `unavailable` while the engine has no majority to serve them. */
import { assert } from "../../base/assert.ts";
import { OnefoldError } from "../../base/errors.ts";
import { type BlobAddress, type Blobs, blobAddress, blobBytesMax, pointerBytesMax } from "../../store/blobs.ts";
import type { BlobShelf } from "./blob-shelf.ts";
import { atLeader, type LiveLogWorld } from "./live-log.ts";
import type { ReplicaGroup } from "./replica-group.ts";
import { type EngineSession, unavailable } from "./session.ts";

/** 16 MiB took 786 ms to put and 324 ms to get where it was measured. */
const putBytesPerMs = 21_000;
const getBytesPerMs = 52_000;

export interface LiveBlobsWorld extends LiveLogWorld {
  /** Where it has a majority, there are blobs. */
  readonly directory: ReplicaGroup;
}

interface BlobAnswer<T> {
  readonly value: T;
  /** What the transfer takes beside the way. */
  readonly transferMs: number;
}

export class LiveBlobs implements Blobs {
  readonly #world: LiveBlobsWorld;
  readonly #session: EngineSession;
  readonly #shelf: BlobShelf;

  constructor(world: LiveBlobsWorld, session: EngineSession, shelf: BlobShelf) {
    this.#world = world;
    this.#session = session;
    this.#shelf = shelf;
  }

  async put(bytes: Uint8Array): Promise<BlobAddress> {
    assert(bytes.length <= blobBytesMax, "a blob has at most 16 MiB");
    const address = blobAddress(bytes);
    const sent = bytes.slice();
    return this.#ask(() => {
      this.#shelf.put(address, sent);
      this.#shelf.get(address);
      return { value: address, transferMs: sent.length / putBytesPerMs };
    });
  }

  get(address: BlobAddress): Promise<Uint8Array> {
    return this.#ask(() => {
      const value = this.#shelf.get(address);
      return { value, transferMs: value.length / getBytesPerMs };
    });
  }

  list(): Promise<readonly BlobAddress[]> {
    return this.#ask(() => ({ value: [...this.#shelf.addresses].sort(), transferMs: 0 }));
  }

  delete(address: BlobAddress): Promise<void> {
    return this.#ask(() => ({ value: this.#shelf.delete(address), transferMs: 0 }));
  }

  readPointer(name: string): Promise<Uint8Array | undefined> {
    return this.#ask(() => ({ value: this.#shelf.pointer(name), transferMs: 0 }));
  }

  setPointer(name: string, bytes: Uint8Array): Promise<void> {
    assert(/^[a-z-]{1,64}$/.test(name), "a pointer's name is of a-z and -");
    assert(bytes.length <= pointerBytesMax, "a pointer has at most 4 KiB");
    const sent = bytes.slice();
    return this.#ask(() => ({ value: this.#shelf.setPointer(name, sent), transferMs: 0 }));
  }

  #ask<T>(carryOut: () => BlobAnswer<T>): Promise<T> {
    const { rates, counts, scheduler, directory } = this.#world;
    return this.#session.ask<T>({
      perform: (server, reply) =>
        atLeader(this.#world, { group: directory, server, reply }, (leader) => {
          if (leader !== directory.leader || !directory.isAvailable) {
            reply.silence();
            return;
          }
          if (this.#session.random.chance(rates.blobRefusal)) {
            counts.add("blob-refusal");
            reply.answer({ error: unavailable("The engine refuses blobs now.") });
            return;
          }
          try {
            const { value, transferMs } = carryOut();
            scheduler.at(transferMs, () => reply.answer({ value }));
          } catch (error) {
            // What the shelf says is an answer; anything else is a bug of the simulation.
            if (!(error instanceof OnefoldError)) throw error;
            reply.answer({ error });
          }
        }),
      expired: () => ({ error: unavailable("The engine didn't answer in time.") }),
    });
  }
}
