/**
 * One simulation from one seed: a random program against a node that is disturbed as the seed says, then healed, then judged.
 */
import { OnefoldError } from "../../base/errors.ts";
import { limits } from "../../base/limits.ts";
import { decodeValue } from "../../base/value.ts";
import { SeededRandom } from "../../base/random.ts";
import { entriesWithPrefix } from "../../entity/fold.ts";
import { keys } from "../../entity/keys.ts";
import type { Service } from "../../entity/service.ts";
import { FaultCounts } from "../faults.ts";
import { Scheduler } from "../scheduler.ts";
import { readHistory, SimulatedClient, simulatedPrincipal } from "./client.ts";
import type { DeadLetterFact } from "./deliveries.ts";
import { type FaultsPlan, makeFaultsPlan } from "./faults-plan.ts";
import type { ShadowEntry } from "./perform.ts";
import type { EntityName, Memoir } from "./plan.ts";
import { makeProgram, type Program } from "./program.ts";
import type { WitnessedLetters } from "./log-witness.ts";
import { type RecordedRequest, Recording } from "./recording.ts";
import { entityNames } from "./system-under-test.ts";
import { type Remembered, verdict } from "./verdict.ts";
import { World } from "./world.ts";

export interface SimulationReport {
  readonly seed: string;
  /** What is wrong, as sentences; empty where all is well. */
  readonly wrongs: readonly string[];
  readonly traceHash: string;
  /** The newest lines of the trace, for the report of a failure. */
  readonly traceTail: readonly string[];
  readonly counts: FaultCounts;
  readonly disturbed: ReadonlyMap<string, number>;
  readonly traced: ReadonlyMap<string, number>;
  readonly lifeCount: number;
  /** Places at which the first life could have crashed. */
  readonly firstLifeOperations: number;
  readonly requestCount: number;
  /** Attempts that a crash left without an answer. */
  readonly unknownCount: number;
  readonly virtualMs: number;
  /** What was run, to be kept as a plan: with the seed it gives the same run, whatever later makes programs from seeds. */
  readonly program: Program;
  readonly faults: FaultsPlan;
  /** What was asked and answered, for the report of a failure. */
  readonly requests: readonly RecordedRequest[];
}

export interface SimulationOptions {
  readonly seed: string;
  /** Keeps the trace of the run. */
  readonly verbose?: boolean;
  readonly program?: Program;
  readonly faults?: FaultsPlan;
  /** Virtual time between the last answer and the verdict: all timers must have fired by then. Default 30 s. */
  readonly settleMs?: number;
}

/** Bound of virtual time from healing to the last answer. */
const answersWithinMs = 120_000;
/** Longer than any timers in a row, for all messages, and for the minute after which a jump of the clock is noticed. */
const settleMsDefault = 75_000;

export async function simulate(options: SimulationOptions): Promise<SimulationReport> {
  const { seed } = options;
  const random = new SeededRandom(seed);
  const plan = options.faults ?? makeFaultsPlan(random.fork("faults"));
  const names = random.fork("names").shuffle(entityNames);
  const program =
    options.program ??
    makeProgram(random.fork("program"), {
      names,
      clientCount: random.fork("clients").between(2, 6),
      actionCount: random.fork("size").between(3, 10),
      pauseMsMax: random.fork("pause").pick([0.5, 3, 15, 60]),
    });
  const scheduler = new Scheduler({ eventsMax: 1_000_000, notesKeptMax: options.verbose === true ? 4000 : 0 });
  const counts = new FaultCounts();
  const recording = new Recording();
  const onTrace = (line: string): void => {
    scheduler.note(line);
  };
  const world = new World({ scheduler, random, plan, counts, ...(options.verbose === true ? { onTrace } : {}) });
  const wrongs: string[] = [];
  try {
    const settleMs = options.settleMs ?? settleMsDefault;
    const drive = driveSimulation({ world, recording, program, plan, random, wrongs, settleMs });
    await scheduler.complete(drive);
  } catch (error) {
    wrongs.push(error instanceof Error ? (error.stack ?? error.message) : String(error));
  }
  wrongs.push(...world.accusations);
  counts.add("expired-session", recording.expiredCount);
  return {
    seed,
    wrongs,
    traceHash: scheduler.traceHash,
    traceTail: scheduler.notes,
    counts,
    disturbed: world.disturbed,
    traced: world.traced,
    lifeCount: world.lifeCount,
    firstLifeOperations: world.firstLifeOperations,
    requestCount: recording.requests.length,
    unknownCount: recording.unansweredCount,
    virtualMs: scheduler.nowMs,
    program,
    faults: plan,
    requests: recording.requests,
  };
}

interface Drive {
  readonly world: World;
  readonly recording: Recording;
  readonly program: Program;
  readonly plan: FaultsPlan;
  readonly random: SeededRandom;
  readonly wrongs: string[];
  readonly settleMs: number;
}

async function driveSimulation({ world, recording, program, plan, random, wrongs, settleMs }: Drive): Promise<void> {
  const failure = new Promise<never>((_, reject) => world.run().catch(reject));
  failure.catch(() => undefined);
  const whole = async (): Promise<void> => {
    const disturbing = world.disturb();
    const clients = program.clients.map((client) => new SimulatedClient(world, recording, client));
    const done = Promise.all(clients.map((client) => client.run()));
    // Healed when the clients are done, or when they have had their time.
    await Promise.race([done, world.sleep(random.fork("heal").between(500, 8000))]);
    world.heal();
    await within(world, answersWithinMs, done, "the clients' last answers");
    await disturbing;
    await world.sleep(settleMs);
    world.settle();
    await within(world, answersWithinMs, world.serving(), "a node that serves");
    const remembered = await remember(world);
    if (world.accusations.length > 0) return;
    // Damage to what nobody has read yet would be found below by the checker itself.
    const losesStore = plan.swarm.has("damaged-store-value") || random.fork("end").chance(0.5);
    await world.crashAndServe({ losesStore });
    const again = await remember(world);
    if (JSON.stringify(again) !== JSON.stringify(remembered)) {
      wrongs.push(`a restart changed what is remembered:\n  ${JSON.stringify(remembered)}\n  ${JSON.stringify(again)}`);
    }
    await checkLists(world, remembered, wrongs);
    const histories = await readHistories(world);
    const { log } = world.embedded!;
    await world.stop();
    const letters = world.witness.lettersUpTo(log.end!);
    wrongs.push(...(await checkLetters(world, letters, plan)));
    const { deadLetters, unheard } = sortDeadLetters(letters);
    const shadows = new Map(again.shadows.map(([id, entries]) => [id, withUnheard(entries, unheard.get(id) ?? [])]));
    const excusable = new Set<string>();
    if (plan.swarm.has("guard-timeout")) excusable.add("command-too-slow");
    if (plan.limits.outboxHardMax !== undefined && plan.limits.outboxHardMax < 100) excusable.add("overloaded");
    if (plan.limits.waitingMessagesMax !== undefined && plan.limits.waitingMessagesMax < 100)
      excusable.add("overloaded");
    const unordered = new Set([...unheard.keys()].map((id) => `mortal/${id}`));
    const facts: Remembered = { memoirs: again.memoirs, shadows, unordered, deadLetters, histories, excusable };
    wrongs.push(...verdict(recording, facts));
  };
  await Promise.race([whole(), failure]);
}

async function within<T>(world: World, limitMs: number, promise: Promise<T>, what: string): Promise<T> {
  const late = Symbol("late");
  const result = await Promise.race([promise, world.sleep(limitMs).then((): typeof late => late)]);
  if (result === late) throw new Error(`${what} did not come within ${limitMs} ms of virtual time`);
  return result as T;
}

interface AllMemories {
  readonly memoirs: Remembered["memoirs"];
  readonly shadows: readonly (readonly [string, readonly ShadowEntry[]])[];
}

/** Again and again for a while: damage that is found only now is repaired first. */
async function persistently<T>(world: World, ask: (service: Service) => Promise<T>): Promise<T> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await ask(await world.serving());
    } catch (error) {
      const isPassing =
        error instanceof OnefoldError &&
        (error.retry === "safe" || error.code === "damaged" || error.code === "command-too-slow");
      if (!isPassing || attempt >= 20) throw error;
      await world.sleep(100);
    }
  }
}

async function remember(world: World): Promise<AllMemories> {
  const read = async (kind: string, query: string, id: string): Promise<unknown> => {
    const { output } = await persistently(world, (service) =>
      service.query({ kind, id }, query, undefined, { principal: simulatedPrincipal }),
    );
    return output;
  };
  const memoirs: (EntityName & { readonly memoir: Memoir })[] = [];
  const shadows: (readonly [string, readonly ShadowEntry[]])[] = [];
  // One after the other: the node may have been told to queue no more than a few.
  for (const { kind, id } of entityNames) {
    const output = await read(kind, "memoir", id);
    memoirs.push({ kind, id, memoir: output as Memoir });
    if (kind !== "mortal") continue;
    shadows.push([id, (await read("shadow", "entries", id)) as readonly ShadowEntry[]]);
  }
  return { memoirs, shadows };
}

/** As far as the log reaches back. */
async function readHistories(world: World): Promise<Remembered["histories"]> {
  const histories: Remembered["histories"][number][] = [];
  for (const { kind, id } of entityNames) {
    const options = { principal: simulatedPrincipal };
    const history = await persistently(world, (service) =>
      readHistory(service, { kind, id }, limits.listLimitMax, options),
    );
    histories.push({ kind, id, history });
  }
  return histories;
}

/** The index agrees with the entities. */
async function checkLists(world: World, { memoirs }: AllMemories, wrongs: string[]): Promise<void> {
  for (const kind of ["cell", "shelf", "ledger", "mortal"] as const) {
    const { ids } = await persistently(world, (service) => service.list(kind, { principal: simulatedPrincipal }));
    const expected = memoirs.filter((each) => each.kind === kind && each.memoir.birth !== null).map(({ id }) => id);
    if (ids.join() !== [...expected].sort().join()) wrongs.push(`listed of ${kind}: ${ids}; there are ${expected}`);
  }
}

interface DeadLetters {
  readonly deadLetters: readonly DeadLetterFact[];
  /** What shadows would have heard, by their ids. */
  readonly unheard: ReadonlyMap<string, readonly ShadowEntry[]>;
}

function sortDeadLetters({ all }: WitnessedLetters): DeadLetters {
  const deadLetters: DeadLetterFact[] = [];
  const unheard = new Map<string, ShadowEntry[]>();
  for (const { kind, id, input, code, waits } of all) {
    if (waits) continue;
    const plan = decodeValue(input) as { readonly tag: string };
    if (kind === "shadow") unheard.set(id, [...(unheard.get(id) ?? []), plan as unknown as ShadowEntry]);
    else deadLetters.push({ tag: plan.tag, entity: `${kind}/${id}`, code });
  }
  return { deadLetters, unheard };
}

/** The store has the letters that the log has not removed, they are no more than may be, and none waits any longer. */
async function checkLetters(world: World, { kept }: WitnessedLetters, plan: FaultsPlan): Promise<readonly string[]> {
  const wrongs: string[] = [];
  const store = await world.store.open();
  const stored = [...entriesWithPrefix(store, keys.table("deadLetter"))].map(({ key }) => key);
  await store.close();
  if (JSON.stringify(stored) !== JSON.stringify([...kept.keys()].sort())) {
    wrongs.push(`the store has ${stored.length} dead letters, by the log it must have ${kept.size}, and the same`);
  }
  const { deadLettersMax = limits.deadLettersMax, deadLettersPerSlotMax = limits.deadLettersPerSlotMax } = plan.limits;
  const bySlot = new Map<number, number>();
  for (const { kind, id, slot, waits } of kept.values()) {
    if (waits) wrongs.push(`a message to ${kind}/${id} still waits for newer code`);
    bySlot.set(slot, (bySlot.get(slot) ?? 0) + 1);
  }
  if (kept.size > deadLettersMax) wrongs.push(`${kept.size} dead letters are kept; ${deadLettersMax} may be`);
  for (const [slot, count] of bySlot) {
    if (count > deadLettersPerSlotMax) wrongs.push(`${count} dead letters are kept of slot ${slot}`);
  }
  return wrongs;
}

/** A shadow's entries and those that only dead letters hold, where they belong: lives in order of time, each by its counts. */
function withUnheard(entries: readonly ShadowEntry[], unheard: readonly ShadowEntry[]): readonly ShadowEntry[] {
  if (unheard.length === 0) return entries;
  const lives = new Map<string, ShadowEntry[]>();
  for (const entry of [...entries, ...unheard]) lives.set(entry.birth, [...(lives.get(entry.birth) ?? []), entry]);
  for (const life of lives.values()) life.sort((a, b) => a.count - b.count);
  return [...lives.values()].sort(([a], [b]) => a!.nowMs - b!.nowMs).flat();
}
