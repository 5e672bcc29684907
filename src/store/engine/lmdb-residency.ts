/**
 * Watches how much of a store's file its map keeps resident. Each page that LMDB touches stays mapped, with its neighbours
 * that the kernel has at hand, until the map ends; so without a bound a process comes to be as large as its file. The kernel
 * could take those pages back, but whoever counts memory (a container's working set) counts mapped ones as in use.
 *
 * Only Linux says what of a process's memory is mapped files; elsewhere nothing is watched and the kernel alone decides.
 */
import { readFileSync } from "node:fs";

export interface ResidencyOptions {
  /** What of the file may stay resident. */
  readonly bytesMax: number;
  /** Touches between two looks, each of which costs some 30 microseconds. On Linux one touch maps up to 64 KiB. */
  readonly touchesPerLook: number;
  /** Resident bytes of all mapped files of this process; undefined where that can't be known. */
  readonly residentBytes: () => number | undefined;
}

const defaults: ResidencyOptions = {
  bytesMax: 40 * 1024 * 1024,
  touchesPerLook: 256,
  residentBytes: residentFileBytes,
};

export class MapResidency {
  readonly #options: ResidencyOptions;
  #baseBytes: number;
  #touches = 0;

  /** The map is new and empty. */
  constructor(options: Partial<ResidencyOptions> = {}) {
    this.#options = { ...defaults, ...options };
    this.#baseBytes = this.#options.residentBytes() ?? 0;
  }

  /** Called with the number of pages that may have been touched; says, now and then, that the map is beyond its bound. */
  touch(count = 1): boolean {
    const { bytesMax, touchesPerLook, residentBytes } = this.#options;
    this.#touches += count;
    if (this.#touches < touchesPerLook) return false;
    this.#touches = 0;
    return (residentBytes() ?? 0) - this.#baseBytes > bytesMax;
  }

  /** There is a new, empty map. */
  restart(): void {
    this.#touches = 0;
    this.#baseBytes = this.#options.residentBytes() ?? 0;
  }
}

/** Resident bytes of all files that this process has mapped, its own program included. */
export function residentFileBytes(readStatus: () => string = readOwnStatus): number | undefined {
  if (process.platform !== "linux") return undefined;
  let status: string;
  try {
    status = readStatus();
  } catch {
    // Perhaps all file descriptors are in use. Whoever reads from the store must not fail for that; a later look will tell.
    return undefined;
  }
  const field = /^RssFile:\s+(\d+) kB$/m.exec(status);
  return field === null ? undefined : Number(field[1]) * 1024;
}

function readOwnStatus(): string {
  return readFileSync("/proc/self/status", "latin1");
}
