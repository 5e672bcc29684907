/**
 * What the tests of LMDB's real files run in processes of their own, because a damaged file may end a process.
 *
 * `damage DIRECTORY SEED ROUNDS`: makes a file with a history, then damages copies of it and opens them, one line of outcome
 * each. `apply DIRECTORY`: applies batch after batch, a line with the sequence after each, until it is killed.
 * `full DIRECTORY`: under a limit of the file's size, applies too much, twice, and opens again; a line with what came of each.
 */
import { copyFile, open, stat, truncate } from "node:fs/promises";
import { join } from "node:path";
import { crc32 } from "../../base/digest.ts";
import { OnefoldError } from "../../base/errors.ts";
import { DiskError } from "../../host/host.ts";
import { SeededRandom } from "../../base/random.ts";
import { keyEnd } from "../key.ts";
import type { Store, Write } from "../store.ts";
import { positionAt } from "../store.suite.ts";
import { lmdbStore } from "./lmdb.ts";

/** Everything in a store, in order, as one number and a count. */
export function summary(store: Store): string {
  let sum = 0;
  let count = 0;
  for (const { key, value } of store.range({ from: new Uint8Array(0), to: keyEnd })) {
    sum = crc32(value, crc32(key, sum));
    count++;
  }
  return `${count}:${sum}`;
}

/** The writes of one batch: they follow from its sequence. Half of them replace, remove or outgrow what is there. */
export function batchWrites(sequence: number, count: number): Write[] {
  const random = new SeededRandom(`batch-${sequence}`);
  return Array.from({ length: count }, () => {
    const key = Buffer.from(`key-${String(random.integer(2000)).padStart(6, "0")}`);
    if (random.next() < 0.15) return { key, value: null };
    const size = random.next() < 0.03 ? 3000 + random.integer(20_000) : random.integer(200);
    return { key, value: random.bytes(size) };
  });
}

async function damage(directory: string, seed: string, rounds: number): Promise<void> {
  const engine = lmdbStore({ directory, trace: () => undefined });
  const path = join(directory, "store.mdb");
  const original = join(directory, "original");
  const expected = new Map<number | undefined, string>([[undefined, "0:0"]]);
  const store = await engine.open();
  for (let sequence = 1; sequence <= 12; sequence++) {
    await store.apply(batchWrites(sequence, 500), positionAt(sequence));
    expected.set(sequence, summary(store));
  }
  await store.close();
  await copyFile(path, original);
  const sizeBytes = (await stat(original)).size;
  const random = new SeededRandom(`damage-${seed}`);
  for (let round = 0; round < rounds; round++) {
    await engine.destroy();
    await copyFile(original, path);
    const what = await damageFile(path, sizeBytes, random);
    console.log(`${await outcomeOf(expected)} ${what}`);
  }

  async function outcomeOf(expected: ReadonlyMap<number | undefined, string>): Promise<string> {
    try {
      const damaged = await engine.open();
      try {
        if (summary(damaged) !== expected.get(damaged.position?.sequence)) return "wrong";
        for (let extra = 100; extra < 103; extra++) await damaged.apply(batchWrites(extra, 300), positionAt(extra));
        const before = summary(damaged);
        await damaged.close();
        const again = await engine.open();
        const after = summary(again);
        await again.close();
        return before === after ? "harmless" : "wrong";
      } finally {
        await damaged.close();
      }
    } catch (error) {
      if (error instanceof OnefoldError && error.code === "damaged") return "damaged";
      throw error;
    }
  }
}

/** One bit, one zeroed or copied sector, or a cut; returns its description. */
async function damageFile(path: string, sizeBytes: number, random: SeededRandom): Promise<string> {
  const kind = random.next();
  if (kind < 0.1) {
    const cut = random.integer(sizeBytes);
    await truncate(path, cut);
    return `cut at ${cut}`;
  }
  const file = await open(path, "r+");
  try {
    // Every third one hits the first two pages, which are the meta pages.
    const offset = random.next() < 0.3 ? random.integer(8192) : random.integer(sizeBytes);
    if (kind < 0.8) {
      const byte = Buffer.alloc(1);
      await file.read(byte, 0, 1, offset);
      byte[0] = byte[0]! ^ (1 << random.integer(8));
      await file.write(byte, 0, 1, offset);
      return `bit at ${offset}`;
    }
    const page = offset - (offset % 512);
    const sector = Buffer.alloc(512);
    if (kind < 0.9) await file.read(sector, 0, 512, random.integer(sizeBytes / 512) * 512);
    await file.write(sector, 0, 512, page);
    return `sector at ${page}`;
  } finally {
    await file.close();
  }
}

async function applyForEver(directory: string): Promise<void> {
  const store = await lmdbStore({ directory, trace: () => undefined }).open();
  for (let sequence = (store.position?.sequence ?? 0) + 1; ; sequence++) {
    await store.apply(batchWrites(sequence, 200), positionAt(sequence));
    process.stdout.write(`${sequence}\n`);
  }
}

async function applyTooMuch(directory: string): Promise<void> {
  // With a handler, a write beyond the limit fails instead of ending the process.
  process.on("SIGXFSZ", () => undefined);
  const engine = lmdbStore({ directory, trace: () => undefined });
  const store = await engine.open();
  await store.apply(batchWrites(1, 100), positionAt(1));
  const before = summary(store);
  const tooMuch = Array.from({ length: 200 }, (_, i) => ({
    key: Buffer.from(`l${i}`),
    value: Buffer.alloc(100_000, i),
  }));
  for (let attempt = 0; attempt < 2; attempt++) {
    try {
      await store.apply(tooMuch, positionAt(2));
      console.log("applied");
    } catch (error) {
      console.log(error instanceof DiskError ? error.code : String(error));
    }
    console.log(summary(store) === before && store.position?.sequence === 1 ? "unchanged" : "changed");
  }
  await store.close();
  const again = await engine.open();
  console.log(summary(again) === before ? "kept" : "lost");
  await again.apply(batchWrites(2, 10), positionAt(2));
  await again.close();
}

const [mode, directory, seed = "", rounds = ""] = process.argv.slice(2);
if (mode === "damage") await damage(directory!, seed, Number(rounds));
else if (mode === "apply") await applyForEver(directory!);
else if (mode === "full") await applyTooMuch(directory!);
