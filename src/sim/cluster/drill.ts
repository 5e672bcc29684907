/**
 * The drill: clients of all kinds against a simulated cluster, with the histories of what they were told, and the judgement over them
 * once the cluster is healed.
 */
import type { SeededRandom } from "../../base/random.ts";
import type { Value } from "../../base/value.ts";
import type { Position } from "../../entity/service.ts";
import type { Finding } from "../checkers/history.ts";
import { HistoryRecorder } from "../checkers/history-recorder.ts";
import { checkLinearizability } from "../checkers/linearizability.ts";
import { register, type RegisterInput, type RegisterOutput } from "../checkers/sequential-model.ts";
import { type CallOutcome, ClusterClient, type ClientWorld, driller } from "./cluster-client.ts";
import type { DrillPart, LastWord } from "./drill-part.ts";
import { ListMixes } from "./list-mixes.ts";
import { Tallies } from "./tallies.ts";

export interface DrillOptions {
  readonly world: ClientWorld;
  readonly random: SeededRandom;
  readonly clientCount: number;
  readonly accuse: (what: string) => void;
  /** Between two operations of one client, on average. */
  readonly thinkMs: number;
}

const registerCount = 4;
const purseCount = 6;
const purseStart = 1000;
const boxCount = 4;

export class Drill {
  readonly #options: DrillOptions;
  readonly #registers = new HistoryRecorder<RegisterInput, RegisterOutput>();
  readonly #parts: readonly DrillPart[] = [new Tallies(), new ListMixes()];
  /** Letters by pair of post and box, in the order in which their sends were told to have been done. */
  readonly #letters = new Map<string, { readonly letter: string; readonly kind: CallOutcome["kind"] }[]>();
  readonly #timers = new Map<string, Map<string, CallOutcome["kind"]>>();
  readonly #positions = new Map<string, Position>();
  #isOver = false;
  operationCount = 0;
  readonly findings: Finding[] = [];

  constructor(options: DrillOptions) {
    this.#options = options;
  }

  /** Runs clients until `end`; resolves when each has had its last answer. */
  async run(): Promise<void> {
    const { clientCount, random } = this.#options;
    await Promise.all(
      Array.from({ length: clientCount }, (_, index) => this.#client(`c${index + 1}`, random.fork(`client-${index}`))),
    );
  }

  end(): void {
    this.#isOver = true;
  }

  /** The last position of each incarnation of a log that an answer told of. */
  get acknowledgedPositions(): readonly Position[] {
    return [...this.#positions.values()];
  }

  #acknowledged(position: Position): void {
    const known = this.#positions.get(position.incarnation);
    if (known === undefined || known.sequence < position.sequence) this.#positions.set(position.incarnation, position);
  }

  async #client(name: string, random: SeededRandom): Promise<void> {
    const { world, accuse, thinkMs } = this.#options;
    const client = new ClusterClient({
      world,
      random: random.fork("choices"),
      name,
      accuse,
      acknowledged: (position) => this.#acknowledged(position),
    });
    const operations = [
      ...this.#parts.flatMap(({ operations }) => operations.map((operate) => () => operate(client, random))),
      () => this.#write(client, random),
      () => this.#read(client, random),
      () => this.#pay(client, random),
      () => this.#audit(client),
      () => this.#send(client, random),
      () => this.#wind(client, random),
    ];
    while (!this.#isOver) {
      await random.pick(operations)();
      this.operationCount++;
      await world.sleep(random.next() * 2 * thinkMs);
    }
  }

  // ---------------------------------------------------------------------------------------------------------- operations

  async #write(client: ClusterClient, random: SeededRandom): Promise<void> {
    const key = `r${random.integer(registerCount)}`;
    const value = `${client.name}-${this.operationCount}-${random.integer(1e6)}`;
    const invocation = this.#registers.invoke(client.name, { type: "write", key, value });
    const outcome = await client.write((service, options) =>
      service.command({ kind: "register", id: key }, "write", { value }, options),
    );
    if (outcome.kind === "ok") invocation.complete({ kind: "ok", output: null });
    else if (outcome.kind === "fail") invocation.complete({ kind: "fail" });
  }

  async #read(client: ClusterClient, random: SeededRandom): Promise<void> {
    const key = `r${random.integer(registerCount)}`;
    const invocation = this.#registers.invoke(client.name, { type: "read", key });
    const outcome = await client.read((service) =>
      service.query({ kind: "register", id: key }, "read", undefined, { principal: driller, deadlineMs: 5000 }),
    );
    if (outcome.kind === "ok") invocation.complete({ kind: "ok", output: (outcome.output ?? null) as RegisterOutput });
    else invocation.complete({ kind: "fail" });
  }

  async #pay(client: ClusterClient, random: SeededRandom): Promise<void> {
    const [from, to] = random.shuffle(Array.from({ length: purseCount }, (_, index) => `p${index}`)) as [
      string,
      string,
    ];
    const cents = random.between(1, 400);
    await client.write((service, options) => service.transaction("pay", { from, to, cents }, options));
  }

  async #audit(client: ClusterClient): Promise<void> {
    const purses = Array.from({ length: purseCount }, (_, index) => `p${index}`);
    const outcome = await client.write((service, options) => service.transaction("audit", { purses }, options));
    if (outcome.kind === "ok") this.#judgeAudit(outcome.output as number[], `an audit by ${client.name}`);
  }

  async #send(client: ClusterClient, random: SeededRandom): Promise<void> {
    const from = `o-${client.name}`;
    const to = `b${random.integer(boxCount)}`;
    const letters = Array.from(
      { length: random.between(1, 3) },
      (_, index) => `${from} ${this.operationCount} ${index}`,
    );
    const outcome = await client.write((service, options) =>
      service.command({ kind: "post", id: from }, "send", { to, letters }, options),
    );
    const pair = `${from} ${to}`;
    const sent = this.#letters.get(pair) ?? [];
    this.#letters.set(pair, sent);
    for (const letter of letters) sent.push({ letter, kind: outcome.kind });
  }

  async #wind(client: ClusterClient, random: SeededRandom): Promise<void> {
    const id = `b${random.integer(boxCount)}`;
    const name = `${client.name} ${this.operationCount}`;
    const afterMs = random.between(10, 3000);
    const outcome = await client.write((service, options) =>
      service.command({ kind: "box", id }, "wind", { name, afterMs }, options),
    );
    mapIn(this.#timers, id).set(name, outcome.kind);
  }

  // ----------------------------------------------------------------------------------------------------------- judgement

  /** Reads everything through one node, and holds it against what clients were told. */
  async judge(ask: LastWord): Promise<void> {
    const query = (kind: string, id: string, name: string): Promise<Value | undefined> =>
      ask((service) => service.query({ kind, id }, name, undefined, { principal: driller, deadlineMs: 10_000 }));
    for (const part of this.#parts) this.findings.push(...(await part.judge(ask)));
    const boxes = new Map<string, { readonly got: string[]; readonly fired: string[] }>();
    for (let index = 0; index < boxCount; index++) {
      boxes.set(`b${index}`, (await query("box", `b${index}`, "all")) as { got: string[]; fired: string[] });
    }
    for (const [pair, sent] of this.#letters) this.#judgeLetters(pair, sent, boxes);
    for (const [id, timers] of this.#timers) this.#judgeTimers(id, timers, boxes.get(id)!.fired);
    const cents: number[] = [];
    for (let index = 0; index < purseCount; index++) cents.push((await query("purse", `p${index}`, "cents")) as number);
    this.#judgeAudit(cents, "the last audit");
    this.findings.push(...checkLinearizability(register, this.#registers.history()));
  }

  /** Letters of one pair arrive once, and in order. */
  #judgeLetters(
    pair: string,
    sent: readonly { readonly letter: string; readonly kind: CallOutcome["kind"] }[],
    boxes: ReadonlyMap<string, { readonly got: readonly string[] }>,
  ): void {
    const [from, to] = pair.split(" ") as [string, string];
    const got = boxes.get(to)!.got.filter((letter) => letter.startsWith(`${from} `));
    const counts = countsOf(got);
    for (const { letter, kind } of sent) {
      const count = counts.get(letter) ?? 0;
      if (count > 1) this.#find("doubled-message", `${to} got '${letter}' ${count} times`);
      if (count === 0 && kind === "ok")
        this.#find("lost-message", `${to} lacks '${letter}', whose sending was acknowledged`);
      if (count > 0 && kind === "fail")
        this.#find("failed-write-took-hold", `${to} got '${letter}', whose sending failed`);
    }
    const arrived = new Set(got);
    const expected = sent.map(({ letter }) => letter).filter((letter) => arrived.has(letter));
    if (expected.join() !== [...arrived].join()) {
      this.#find(
        "reordered-messages",
        `${to} got of ${from}: ${[...arrived].join(", ")}; sent: ${expected.join(", ")}`,
      );
    }
  }

  #judgeTimers(id: string, timers: ReadonlyMap<string, CallOutcome["kind"]>, fired: readonly string[]): void {
    const counts = countsOf(fired);
    for (const [name, kind] of timers) {
      const count = counts.get(name) ?? 0;
      if (count > 1) this.#find("doubled-timer", `the timer ${name} of ${id} went off ${count} times`);
      if (count === 0 && kind === "ok") this.#find("lost-timer", `the timer ${name} of ${id} never went off`);
    }
  }

  #judgeAudit(cents: readonly number[], what: string): void {
    const sum = cents.reduce((total, each) => total + each, 0);
    if (sum !== purseCount * purseStart) this.#find("conservation", `${what} saw ${cents.join(" + ")} = ${sum}`);
  }

  #find(anomaly: string, explanation: string): void {
    this.findings.push({ anomaly, explanation });
  }
}

function mapIn<K, V>(maps: Map<string, Map<K, V>>, key: string): Map<K, V> {
  let map = maps.get(key);
  if (map === undefined) {
    map = new Map();
    maps.set(key, map);
  }
  return map;
}

function countsOf(items: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const item of items) counts.set(item, (counts.get(item) ?? 0) + 1);
  return counts;
}
