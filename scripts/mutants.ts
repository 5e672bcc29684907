/**
 * Proves that the simulation finds what it is there to find: breaks a copy of the sources on purpose, one mutant at a time, and
 * expects some of the first seeds to fail. `npm run mutants`, or `npm run mutants -- WORD` for those whose name contains it.
 */
import { spawn } from "node:child_process";
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

interface Mutant {
  readonly name: string;
  readonly file: string;
  /** Stands once in the file; a mutant that no longer applies is an error, not a success. */
  readonly from: string;
  readonly to: string;
  /** A second place in the same file, where one line guards what another does. */
  readonly also?: { readonly from: string; readonly to: string };
  /** Which simulation must find it. */
  readonly kind: "program" | "damage";
}

const mutants: readonly Mutant[] = [
  {
    name: "answers before the batch is durable",
    file: "src/entity/committer.ts",
    from: "    if (sequence <= this.#end.sequence) return work.release();",
    to: "    if (sequence <= Number.MAX_SAFE_INTEGER) return work.release();",
    kind: "program",
  },
  {
    name: "reads do not wait for what they saw",
    file: "src/entity/read-call.ts",
    from: "    this.#core.committer.hold(this, sequence);",
    to: "    this.#core.committer.hold(this, sequence * 0);",
    kind: "program",
  },
  {
    name: "refusals do not wait for what they saw",
    file: "src/entity/command-call.ts",
    from: "!isKept(error)) return this.#hold({ error }, sequence);",
    to: "!isKept(error)) return this.#hold({ error }, sequence * 0);",
    kind: "program",
  },
  {
    name: "memory keeps what a failed append dropped",
    file: "src/entity/shard.ts",
    from: "    working.clear();",
    to: "",
    kind: "program",
  },
  {
    name: "outcomes of requests are not kept",
    file: "src/entity/fold.ts",
    from: "  if (entry.result !== null) foldResult(entry.result.key, entry.result.outcome, writes);",
    to: "",
    kind: "program",
  },
  {
    name: "the receiver's high-water mark does not move in the store",
    file: "src/entity/fold.ts",
    from: "    writes.put(keys.inboxNumber(toSlot, fromSlot), packr.pack(number));",
    to: "",
    kind: "program",
  },
  {
    name: "a timer that fired is not removed in the same entry",
    file: "src/entity/alarm-clock.ts",
    from: "    const timers = isSetAgain ? result.timers : [...result.timers, this.#removal];",
    to: "    const timers = isSetAgain ? result.timers : result.timers;",
    kind: "program",
  },
  {
    name: "the fold forgets that an item was removed",
    file: "src/entity/fold.ts",
    from: "  for (const item of effect.items) {",
    to: "  for (const item of effect.items.filter(({ value }) => value !== null)) {",
    kind: "program",
  },
  {
    name: "transactions take no locks",
    file: "src/transaction/transaction.ts",
    from: "      if (!lock.acquire(this, mode, waiter)) return undefined;",
    to: "      lock.acquire(this, mode, waiter);",
    kind: "program",
  },
  {
    name: "plain commands ignore locks",
    file: "src/entity/entity-command.ts",
    from: "    if (lock === undefined || lock.isFree) return true;",
    to: "    if (lock !== null) return true;",
    kind: "program",
  },
  {
    name: "the store says that it is ahead of what it holds",
    file: "src/entity/applier.ts",
    from: "      foldBatch(entries, position.sequence, writes);",
    to: "      if (count < countMax || count === 1) foldBatch(entries, position.sequence, writes);",
    kind: "program",
  },
  {
    name: "log time goes back with the wall clock between the steps of a transaction",
    file: "src/entity/committer.ts",
    from: "    return this.#saidTimeMs;",
    to: "    return Math.max(this.#inFlight?.timeMs ?? 0, this.#clock.wallMs());",
    kind: "program",
  },
  {
    name: "a shard that stops forgets to append what it has answered for",
    file: "src/entity/executor.ts",
    from: "    if (this.#current === undefined) this.#committer.kick();",
    to: "",
    kind: "program",
  },
  {
    name: "damage that is found while opening ends the node",
    file: "src/runtime/embedded.ts",
    from: "      if (!(error instanceof StoreDamage)) throw error;",
    to: "      if (error !== undefined) throw error instanceof StoreDamage ? error.damage : error;",
    kind: "program",
  },
  {
    name: "two snapshots are taken at once",
    file: "src/runtime/snapshots.ts",
    from: "    const before = this.#underWay ?? Promise.resolve();",
    to: "    const before = Promise.resolve();",
    kind: "program",
  },
  {
    name: "a new life sees the items of the one before",
    file: "src/entity/run-command.ts",
    from: "    generation: exists ? view.generation : view.generation + 1,",
    to: "    generation: exists ? view.generation : Math.max(1, view.generation),",
    kind: "program",
  },
  {
    name: "a transaction's third entity is left out of its entry",
    file: "src/transaction/transaction.ts",
    from: "entity !== undefined; entity = entity.next) entity.addEffects(effects);",
    to: "entity !== undefined && effects.length < 2; entity = entity.next) entity.addEffects(effects);",
    kind: "program",
  },
  {
    name: "what a lost transaction decoded and changed serves the next command",
    file: "src/transaction/transaction.ts",
    from: "    this.#aborted = reason;",
    to: "    this.#aborted = reason;\n    for (let entity = this.#first; entity !== undefined; entity = entity.next) entity.giveBackDraft();",
    kind: "program",
  },
  {
    name: "slots that the replay changed are not dumped again",
    file: "src/runtime/opening.ts",
    from: "    shard.applier.returnDirtySlots(replayedSlots);",
    to: "    shard.applier.returnDirtySlots(new Set());",
    kind: "program",
  },
  {
    name: "the log is trimmed behind the newest snapshot alone",
    file: "src/runtime/snapshots.ts",
    from: "    await log.trim(older.position.sequence + 1);",
    to: "    await log.trim((this.#newest ?? older).position.sequence + 1);",
    kind: "damage",
  },
  {
    name: "the log is not held against the store's position and the snapshots",
    file: "src/runtime/opening.ts",
    from: "    verifiedThrough,",
    to: "    verifiedThrough: [],",
    kind: "damage",
  },
  {
    name: "the store's checksums are not looked at",
    file: "src/store/checked-value.ts",
    from: '  if (readChecksum(sealed, length) !== entryChecksum(key, value)) throw damagedValue(key, "its checksum does not hold");',
    to: "",
    kind: "damage",
  },
  {
    name: "a message to an entity of newer code is a dead letter",
    file: "src/entity/delivery.ts",
    from: "  return isOfNewerCode(entity) || core.mailroom.deadLetters.isWaitedFor(entity.name);",
    to: "  return core.mailroom.deadLetters.isWaitedFor(entity.name);",
    kind: "program",
  },
  {
    name: "messages overtake those that waited for newer code",
    file: "src/entity/delivery.ts",
    from: "  return isOfNewerCode(entity) || core.mailroom.deadLetters.isWaitedFor(entity.name);",
    to: "  return isOfNewerCode(entity);",
    kind: "program",
  },
  {
    name: "a message that waited is delivered and stays",
    file: "src/entity/delivery.ts",
    from: "      expired: [{ expiresMs: 0, key: this.#letter.key }],",
    to: "      expired: [],",
    kind: "program",
  },
  {
    name: "a timer of an entity of newer code is a dead letter",
    file: "src/entity/alarm-clock.ts",
    from: "    if (isOfNewerCode(entity)) {",
    to: "    if (isOfNewerCode(entity) && entity.state === null) {",
    kind: "program",
  },
  {
    name: "dead letters are kept for ever",
    file: "src/entity/dead-letters.ts",
    from: "    if (letter.waits) return [];",
    to: "    if (letter.kind !== undefined) return [];",
    kind: "program",
  },
  {
    name: "what a dropped batch did to the dead letters is remembered",
    file: "src/entity/dead-letters.ts",
    from: "    this.#speculative = this.#durable.copy();\n  }\n\n  #removed",
    to: "  }\n\n  #removed",
    kind: "program",
  },
  {
    name: "timers beyond the window are forgotten",
    file: "src/entity/alarm-clock.ts",
    from: "    this.#horizon = count < this.#windowMax ? undefined : last;",
    to: "    this.#horizon = count >= 0 ? undefined : last;",
    kind: "program",
  },
  {
    name: "requests of an ended session run again",
    file: "src/entity/requests.ts",
    from: "    if (session.expiresMs <= nowMs || ",
    to: "    if (",
    also: {
      from: "      if (request.expiresMs <= nowMs) throw",
      to: "      if (request.expiresMs < 0) throw",
    },
    kind: "program",
  },
  {
    name: "a session that is loaded forgets what was acknowledged",
    file: "src/entity/live-sessions.ts",
    from: "    for (const { row } of rows) session.#lowest = Math.max(session.#lowest, row.lowest);",
    to: "",
    kind: "program",
  },
  {
    name: "the place of an outcome that is not acknowledged is used again",
    file: "src/entity/live-sessions.ts",
    from: "return number < lowest ? place : this.#placeCount;",
    to: "return number <= lowest ? place : this.#placeCount;",
    kind: "program",
  },
  {
    name: "a request whose answer was acknowledged runs again",
    file: "src/entity/requests.ts",
    from: "      if (request.number < session.lowest) {",
    to: "      if (request.number < 0) {",
    kind: "program",
  },
  {
    name: "an append whose outcome is unknown counts as done",
    file: "src/entity/committer.ts",
    from: '      const isKnown =\n        outcome.kind === "appended" ||',
    to: '      if (outcome.kind === "unknown") return { kind: "appended" };\n      const isKnown =\n        outcome.kind === "appended" ||',
    kind: "program",
  },
  {
    name: "a migration loses the fields that it does not know",
    file: "src/entity/migration.ts",
    from: "    const untouched = listed ? [] : Object.entries(state).filter(([key]) => !touched.has(key));",
    to: "    const untouched = listed ? [] : Object.entries(state).filter(([key]) => touched.has(key) && key === '');",
    kind: "program",
  },
  {
    name: "a page of a history begins one item late",
    file: "src/entity/history.ts",
    from: "{index + 1}`",
    to: "{index}`",
    kind: "program",
  },
];

const root = fileURLToPath(new URL("..", import.meta.url));
const seedCount = 1500;
/** Several times what all seeds take on a busy machine: a mutant that is missed must not be taken for one that hangs. */
const hangsAfterMs = 600_000;
const words = process.argv.slice(2);

const chosen = mutants.filter(({ name, file }) => words.every((word) => name.includes(word) || file.includes(word)));
const missed: string[] = [];
for (const mutant of chosen) {
  const beganMs = Date.now();
  const found = await isFound(mutant);
  if (found === undefined) missed.push(mutant.name);
  const seconds = ((Date.now() - beganMs) / 1000).toFixed(1);
  console.log(
    `${found === undefined ? "MISSED" : "caught"}  ${mutant.name} (${seconds} s)${found === undefined ? "" : `\n        ${found}`}`,
  );
}
console.log(`${chosen.length - missed.length} of ${chosen.length} mutants caught`);
process.exitCode = missed.length > 0 ? 1 : 0;

/** What the simulation said, in one line; undefined if it noticed nothing. */
async function isFound(mutant: Mutant): Promise<string | undefined> {
  const directory = await mkdtemp(join(tmpdir(), "onefold-mutant-"));
  try {
    for (const name of ["src", "scripts", "package.json", "tsconfig.json"]) {
      await cp(join(root, name), join(directory, name), { recursive: true });
    }
    await symlink(join(root, "node_modules"), join(directory, "node_modules"));
    await apply(mutant, directory);
    return await firstFailure(mutant, directory);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function apply({ name, file, from, to, also }: Mutant, directory: string): Promise<void> {
  const path = join(directory, file);
  let text = await readFile(path, "utf8");
  for (const edit of [{ from, to }, ...(also === undefined ? [] : [also])]) {
    if (text.split(edit.from).length !== 2) {
      throw new Error(`'${name}' does not apply: its text must stand once in ${file}`);
    }
    text = text.replace(edit.from, () => edit.to);
  }
  await writeFile(path, text);
}

function firstFailure({ kind }: Mutant, directory: string): Promise<string | undefined> {
  const script = ["--import", "tsx", "scripts/sim-long.ts", "--first", "--kind", kind, "--seeds", String(seedCount)];
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, script, {
      cwd: directory,
      stdio: ["ignore", "pipe", "pipe"],
      timeout: hangsAfterMs,
      killSignal: "SIGKILL",
    });
    let output = "";
    let errors = "";
    child.stdout.on("data", (chunk: Buffer) => {
      output += chunk.toString();
    });
    child.stderr.on("data", (chunk: Buffer) => {
      errors += chunk.toString();
    });
    child.on("error", reject);
    child.on("exit", (code, signal) => {
      if (code === 0) return resolve(undefined);
      if (signal !== null) return resolve("the simulated node loops for ever");
      const [seed = "", wrong = ""] = output.split("\n");
      // Whatever ends the process other than a verdict is a failure too, of the kind that users would see as a crash.
      resolve(
        (seed === "" ? `ended with ${code}: ${errors.slice(0, 200)}` : `${seed.split(";")[0]}: ${wrong}`).slice(0, 240),
      );
    });
  });
}
