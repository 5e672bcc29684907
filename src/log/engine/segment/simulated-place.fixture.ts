/** For tests: a segment log on a simulated disk, opened and crashed as often as a test likes. */
import { assert } from "../../../base/assert.ts";
import { SeededRandom } from "../../../base/random.ts";
import type { Host } from "../../../host/host.ts";
import type { SimulatedDisk } from "../../../sim/disk.ts";
import { SimulatedNode, type TraceLine } from "../../../sim/host.ts";
import { Scheduler } from "../../../sim/scheduler.ts";
import { openSegmentLog, type SegmentLog, type SegmentLogOptions } from "./engine.ts";

export const logDirectory = "data/log";

export class SimulatedLogPlace {
  readonly scheduler = new Scheduler();
  readonly random: SeededRandom;
  readonly node: SimulatedNode;
  readonly traced: TraceLine[] = [];
  #host: Host | undefined;

  constructor(seed: string | number) {
    this.random = new SeededRandom(seed);
    this.node = new SimulatedNode({
      scheduler: this.scheduler,
      random: this.random.fork("node"),
      onTrace: (line) => this.traced.push(line),
    });
  }

  get disk(): SimulatedDisk {
    return this.node.disk;
  }

  /** Opens the log in a new life of the node; a life that is still running ends by a crash. */
  open(options: Partial<SegmentLogOptions> = {}): Promise<SegmentLog> {
    this.node.crash();
    this.#host = this.node.start();
    return this.openAgain(options);
  }

  /** Opens the log once more in the present life, as a process does that was restarted on a machine that kept running. */
  openAgain(options: Partial<SegmentLogOptions> = {}): Promise<SegmentLog> {
    assert(this.#host !== undefined, "the log was opened before");
    const { disk, random, trace } = this.#host;
    const defaults = { directory: logDirectory, segmentBytes: 64 * 512, reserveBytes: 0 };
    return openSegmentLog({ disk, random, trace, ...defaults, ...options });
  }

  drive<T>(body: () => Promise<T>): Promise<T> {
    return this.scheduler.complete(body());
  }
}

/** Makes a sector of a file what it was before anything was written there. */
export function zeroSector(disk: SimulatedDisk, path: string, offset: number): void {
  const sector = disk.content(path).subarray(offset, offset + 512);
  for (const [index, byte] of sector.entries()) {
    for (let bit = 0; bit < 8; bit++) if (((byte >> bit) & 1) === 1) disk.flip(path, 8 * (offset + index) + bit);
  }
}
