/** How the heap of a program that serves grows. Process-wide, so it is the program's to ask for, never a library's. */
import { getHeapStatistics, setFlagsFromString } from "node:v8";

/**
 * By how much the heap may outgrow what was alive after the last full collection before the next one: by so many bytes, which a small heap
 * can afford and which keep a large one near what is alive, within these parts of it. V8's own choice is up to four times on a machine
 * with much memory, so that what a cache lets go of stays for long. And half as much again of a heap of 25 MB, whatever it is, meant a
 * full collection every 100 ms under load, which took 9 % of the main thread (`docs/performance.md`).
 */
const growthBytes = 40 * 1024 * 1024;
const growthPercentMin = 30;
const growthPercentMax = 200;
const lookMs = 1000;

/** Trades a little processor time for a heap that stays near what is alive, from the next collection on, for the life of the process. */
export function limitHeapGrowth(): void {
  let last = 0;
  const look = (): void => {
    const percent = heapGrowthPercent(getHeapStatistics().used_heap_size);
    if (percent === last) return;
    last = percent;
    setFlagsFromString(`--heap-growing-percent=${percent}`);
  };
  look();
  setInterval(look, lookMs).unref();
}

/** Of a heap of so many bytes. In steps, since what is used is what was alive and some garbage. */
export function heapGrowthPercent(usedBytes: number): number {
  const percent = Math.round((growthBytes / usedBytes) * 10) * 10;
  return Math.min(growthPercentMax, Math.max(growthPercentMin, percent));
}
