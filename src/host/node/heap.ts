/** How the heap of a program that serves grows. Process-wide, so it is the program's to ask for, never a library's. */
import { setFlagsFromString } from "node:v8";

/**
 * By how much the heap may outgrow what was alive after the last full collection before the next one. V8's own choice is up
 * to four times on a machine with much memory: what a cache lets go of stays for long. Half as much again costs some per
 * cent of processor time (`docs/performance.md`).
 */
const heapGrowthPercent = 50;

/** Trades a little processor time for a heap that stays near what is alive. Takes effect with the next collection. */
export function limitHeapGrowth(): void {
  setFlagsFromString(`--heap-growing-percent=${heapGrowthPercent}`);
}
