/**
 * The verdict on one simulation: holds what clients were told against what the entities remember in the end (G1, G3–G6).
 *
 * V1  Everything that was acknowledged is there, at the place that its answer named; everything else is there whole or not.
 * V2  Nothing is there twice, and nothing that failed, was refused, or was safe to send again is there at all.
 * V3  Every answer, reads and refusals too, is explained by what is there: so nobody saw what later vanished.
 * V4  All of it has one order (`order.ts`). Messages and timers are checked in `deliveries.ts`.
 */
import { checkDeliveries, type DeadLetterFact } from "./deliveries.ts";
import { checkHistory, glimpseOfItem, type HistoryOutput } from "./histories.ts";
import { type ModelLife, nothingThere, replayLife } from "./model.ts";
import { OrderGraph } from "./order.ts";
import type { ShadowEntry } from "./perform.ts";
import type { EntityName, Glimpse, JournalEntry, Look, Memoir, StepOutput } from "./plan.ts";
import { childTag } from "./plan.ts";
import { type RecordedRequest, type Recording, unitOf } from "./recording.ts";

/** What the entities remember when all is over, and what failures the faults of the run explain. */
export interface Remembered {
  readonly memoirs: readonly (EntityName & { readonly memoir: Memoir })[];
  /** By id of the `mortal`. */
  readonly shadows: ReadonlyMap<string, readonly ShadowEntry[]>;
  /** Mortals some of whose commands only dead letters tell of: the order of their lives is not known. */
  readonly unordered: ReadonlySet<string>;
  readonly deadLetters: readonly DeadLetterFact[];
  /** All of each entity's, as far as the log reaches back. */
  readonly histories: readonly (EntityName & { readonly history: HistoryOutput })[];
  /** Codes of errors that may befall any command of this run. */
  readonly excusable: ReadonlySet<string>;
}

interface Place {
  readonly entity: string;
  readonly life: number;
  readonly count: number;
}

/** All that is wrong, as sentences; empty where all is well. */
export function verdict(recording: Recording, remembered: Remembered): readonly string[] {
  const judge = new Judge(recording, remembered);
  judge.readLives();
  if (judge.wrongs.length === 0) judge.checkRequests();
  if (judge.wrongs.length === 0) judge.checkOrder();
  return judge.wrongs;
}

class Judge {
  readonly wrongs: string[] = [];
  readonly #recording: Recording;
  readonly #remembered: Remembered;
  readonly #graph = new OrderGraph();
  /** Lives by entity, in order. */
  readonly #lives = new Map<string, ModelLife[]>();
  readonly #places = new Map<string, Place>();
  readonly #dead: ReadonlySet<string>;

  constructor(recording: Recording, remembered: Remembered) {
    this.#recording = recording;
    this.#remembered = remembered;
    this.#dead = new Set(remembered.deadLetters.map(({ tag }) => tag));
  }

  // ---------------------------------------------------------------------------------------------------------- what is there

  readLives(): void {
    for (const { kind, id, memoir } of this.#remembered.memoirs) {
      const entity = `${kind}/${id}`;
      const journals = kind === "mortal" ? this.#shadowedJournals(id) : memoir.count > 0 ? [memoir.journal] : [];
      try {
        const lives = journals.map((journal) => replayLife(this.#recording, journal, (tag) => this.#dead.has(tag)));
        if (this.#remembered.unordered.has(entity)) {
          lives.sort((a, b) => Number(a.birth === memoir.birth) - Number(b.birth === memoir.birth));
        }
        this.#lives.set(entity, lives);
        this.#place(entity, kind, id, lives);
        this.#checkPresent(entity, memoir, lives);
      } catch (error) {
        this.wrongs.push(`${entity}: ${(error as Error).message}`);
      }
    }
    this.#checkDeletions();
    if (this.wrongs.length > 0) return;
    const timers = [...this.#lives].flatMap(([entity, lives]) =>
      lives.slice(-1).flatMap((life) => (this.#isAlive(entity) ? [...life.timers.values()] : [])),
    );
    this.wrongs.push(
      ...checkDeliveries({
        recording: this.#recording,
        deadLetters: this.#remembered.deadLetters,
        unordered: this.#remembered.unordered,
        excusable: this.#remembered.excusable,
        placed: (tag) => this.#places.get(tag),
        tags: [...this.#places.keys()],
        pendingTimers: timers,
      }),
    );
  }

  #shadowedJournals(id: string): JournalEntry[][] {
    const journals: JournalEntry[][] = [];
    let birth: string | undefined;
    for (const entry of this.#remembered.shadows.get(id) ?? []) {
      if (entry.birth !== birth) journals.push([]);
      birth = entry.birth;
      const journal = journals.at(-1)!;
      journal.push([entry.tag, entry.nowMs]);
      if (journal.length !== entry.count) {
        this.wrongs.push(
          `the shadow of mortal/${id} heard of ${entry.tag} as command ${entry.count}, it is the ${journal.length}th`,
        );
      }
      if (journal[0]![0] !== birth)
        this.wrongs.push(`mortal/${id}: the life of ${birth} begins with ${journal[0]![0]}`);
    }
    return journals;
  }

  #place(entity: string, kind: string, id: string, lives: readonly ModelLife[]): void {
    for (const [life, { journal }] of lives.entries()) {
      for (const [index, [tag]] of journal.entries()) {
        const intention = this.#recording.intention(tag)!;
        if (intention.kind !== kind || intention.id !== id)
          this.wrongs.push(`${tag} ran on ${entity}, which it never named`);
        const other = this.#places.get(tag);
        if (other !== undefined) this.wrongs.push(`${tag} took hold twice, on ${other.entity} and on ${entity}`);
        this.#places.set(tag, { entity, life, count: index + 1 });
      }
    }
  }

  #isAlive(entity: string): boolean {
    return this.#remembered.memoirs.some(({ kind, id, memoir }) => `${kind}/${id}` === entity && memoir.birth !== null);
  }

  /** The entity is what its journal says it must be. */
  #checkPresent(entity: string, memoir: Memoir, lives: readonly ModelLife[]): void {
    const { journal, ...look } = memoir;
    const last = lives.at(-1);
    const expected = memoir.birth === null ? nothingThere : (last?.looks.at(-1) ?? nothingThere);
    if (!sameLook(look, expected)) {
      this.wrongs.push(`${entity} is ${JSON.stringify(look)}, by its journal it must be ${JSON.stringify(expected)}`);
    }
    if (memoir.birth !== null && JSON.stringify(journal) !== JSON.stringify(last?.journal)) {
      this.wrongs.push(`${entity} remembers other commands than it told of: ${JSON.stringify(journal)}`);
    }
    if (memoir.birth !== null && last?.endsItself === true) this.wrongs.push(`${entity} lives on after its end`);
  }

  #checkDeletions(): void {
    for (const [entity, lives] of this.#lives) {
      const [kind, id] = [entity.slice(0, entity.indexOf("/")), entity.slice(entity.indexOf("/") + 1)];
      const ended = this.#isAlive(entity) ? lives.slice(0, -1) : lives;
      const byAdmin = ended.filter(({ endsItself }) => !endsItself).length;
      const deletions = this.#recording.requests.filter(
        ({ request }) => request.type === "delete" && request.kind === kind && request.id === id,
      );
      const sure = deletions.filter(({ outcome }) => outcome.kind === "ok").length;
      const possible = deletions.filter(({ outcome }) => outcome.kind === "unknown" || isUnknown(outcome)).length;
      if (byAdmin < sure || byAdmin > sure + possible) {
        this.wrongs.push(
          `${entity} was ended ${byAdmin} times; ${sure} deletions were acknowledged, ${possible} are unknown`,
        );
      }
    }
  }

  // -------------------------------------------------------------------------------------------------------------- requests

  checkRequests(): void {
    for (const recorded of this.#recording.requests) this.#checkRequest(recorded);
    for (const { kind, id, history } of this.#remembered.histories) {
      const wrong = (why: string): void => void this.wrongs.push(`the history of ${kind}/${id}: ${why}`);
      this.#checkHistory(`history of ${kind}/${id}`, { kind, id }, history, wrong);
      this.#checkLatest({ kind, id }, history, wrong);
    }
  }

  #checkHistory(unit: string, name: EntityName, history: HistoryOutput, wrong: (why: string) => void): void {
    const lives = this.#lives.get(`${name.kind}/${name.id}`) ?? [];
    for (const why of checkHistory({ recording: this.#recording, name, lives }, history)) wrong(why);
    const newest = history.items[0];
    // It was read like a state: what it shows as the newest was so between its question and its answer.
    const seen = newest === undefined ? nothingSeen : glimpseOfItem(newest);
    if (seen !== undefined && (newest !== undefined || history.isWhole)) this.#pin(unit, name, seen, wrong);
  }

  /** In the end its newest item is what the entity is. */
  #checkLatest({ kind, id }: EntityName, { items, isWhole }: HistoryOutput, wrong: (why: string) => void): void {
    const entity = this.#remembered.memoirs.find((each) => each.kind === kind && each.id === id)!;
    const newest = items[0];
    const seen = newest === undefined ? (isWhole ? nothingSeen : undefined) : glimpseOfItem(newest);
    if (seen === undefined) return;
    const { birth, count, balance } = entity.memoir;
    if (seen.birth !== birth || seen.count !== count || seen.balance !== balance) {
      wrong(`it ends with ${JSON.stringify(seen)}, and the entity is ${JSON.stringify({ birth, count, balance })}`);
    }
  }

  #wrong(recorded: RecordedRequest, what: string): void {
    this.wrongs.push(`request ${recorded.index} (${JSON.stringify(recorded.request)}): ${what}`);
  }

  #tagsOf({ request }: RecordedRequest): readonly string[] {
    if (request.type === "run") return [request.tag];
    if (request.type !== "script") return [];
    return request.script.steps.flatMap(({ plan }, index) =>
      plan === undefined ? [] : [childTag.step(request.tag, index)],
    );
  }

  #checkRequest(recorded: RecordedRequest): void {
    const { request, outcome } = recorded;
    const tags = this.#tagsOf(recorded);
    const present = tags.filter((tag) => this.#places.has(tag));
    const mustBeAbsent = outcome.kind === "refused" || (outcome.kind === "error" && !isUnknown(outcome));
    if (mustBeAbsent && present.length > 0)
      this.#wrong(recorded, `it ended as ${JSON.stringify(outcome)}, and took hold`);
    if (request.type === "run") this.#checkRun(recorded);
    if (request.type === "look" && outcome.kind === "ok") this.#checkLook(recorded, request, outcome.output as Look);
    if (request.type === "script") this.#checkScript(recorded, tags, present);
    if (request.type === "history" && outcome.kind === "ok") {
      this.#checkHistory(`#${recorded.index}`, request, outcome.output as HistoryOutput, (why) =>
        this.#wrong(recorded, why),
      );
    }
    if (request.type === "list" && outcome.kind === "ok")
      this.#checkList(recorded, outcome.output as readonly string[]);
  }

  #checkRun(recorded: RecordedRequest): void {
    const { request, outcome } = recorded;
    if (request.type !== "run") return;
    const { tag, plan } = request;
    if (outcome.kind === "ok") this.#checkRan(recorded, request, tag, outcome.output as Glimpse);
    if (outcome.kind === "refused") {
      this.#checkRefusal(recorded, request, { ...outcome, plan });
      this.#pin(unitOf(tag), request, outcome.details as Glimpse, (why) => this.#wrong(recorded, why));
    }
  }

  #checkRan(recorded: RecordedRequest, name: EntityName, tag: string, glimpse: Glimpse): void {
    const place = this.#places.get(tag);
    if (place === undefined) return this.#wrong(recorded, `${tag} was acknowledged, and is lost`);
    const life = this.#lives.get(`${name.kind}/${name.id}`)![place.life]!;
    const look = life.looks[place.count]!;
    if (glimpse.birth !== life.birth || glimpse.count !== place.count || glimpse.balance !== look.balance) {
      this.#wrong(
        recorded,
        `${tag} answered ${JSON.stringify(glimpse)}, and stands as command ${place.count} of ${life.birth} with balance ${look.balance}`,
      );
    }
  }

  #checkRefusal(
    recorded: RecordedRequest,
    _name: EntityName,
    refusal: {
      readonly code: string;
      readonly details: unknown;
      readonly plan: { readonly add?: number; readonly end?: string };
    },
  ): void {
    const { balance } = refusal.details as Glimpse;
    const isExplained =
      refusal.code === "insufficient"
        ? balance + (refusal.plan.add ?? 0) < 0
        : refusal.code === "as-told" && refusal.plan.end === "refuse";
    if (!isExplained) this.#wrong(recorded, `the refusal ${refusal.code} at balance ${balance} has no reason`);
  }

  #checkLook(recorded: RecordedRequest, name: EntityName, look: Look): void {
    this.#checkSeen(`#${recorded.index}`, name, look, (why) => this.#wrong(recorded, why));
  }

  #checkSeen(unit: string, name: EntityName, look: Look, wrong: (why: string) => void): void {
    const life = this.#pin(unit, name, look, wrong);
    const expected = life === undefined ? nothingThere : life.looks[look.count];
    if (expected !== undefined && !sameLook(look, expected)) {
      wrong(`it saw ${JSON.stringify(look)}, it must have been ${JSON.stringify(expected)}`);
    }
  }

  /** Puts a reader between the command that it saw last and the next one. Returns the life that it saw. */
  #pin(unit: string, name: EntityName, seen: Glimpse, wrong: (why: string) => void): ModelLife | undefined {
    const entity = `${name.kind}/${name.id}`;
    const lives = this.#lives.get(entity) ?? [];
    if (seen.birth === null) {
      if (seen.count !== 0 || seen.balance !== 0)
        wrong(`it saw ${JSON.stringify(seen)} of an entity that is not there`);
      const first = lives[0]?.journal[0];
      if (name.kind !== "mortal" && first !== undefined)
        this.#graph.add(unit, unitOf(first[0]), `before ${entity} began`);
      return undefined;
    }
    const at = lives.findIndex(({ birth }) => birth === seen.birth);
    const life = lives[at];
    const last = life?.journal[seen.count - 1];
    if (life === undefined || last === undefined) {
      wrong(`it saw command ${seen.count} of the life of ${seen.birth} of ${entity}, which is not there`);
      return undefined;
    }
    const isOrdered = !this.#remembered.unordered.has(entity);
    const next = life.journal[seen.count] ?? (isOrdered ? lives[at + 1]?.journal[0] : undefined);
    this.#graph.add(unitOf(last[0]), unit, `saw ${entity} at ${seen.count}`);
    if (next !== undefined) this.#graph.add(unit, unitOf(next[0]), `saw ${entity} at ${seen.count}`);
    return life;
  }

  #checkScript(recorded: RecordedRequest, tags: readonly string[], present: readonly string[]): void {
    const { request, outcome } = recorded;
    if (request.type !== "script") return;
    const { steps } = request.script;
    if (outcome.kind !== "ok") {
      // Only a step whose refusal is caught may be missing from a transaction that took hold.
      const missing = tags.filter((tag) => !present.includes(tag));
      const uncaught = missing.filter((tag) => steps[Number(tag.slice(tag.lastIndexOf(".") + 1))]!.catches !== true);
      if (present.length > 0 && uncaught.length > 0) this.#wrong(recorded, `${present} took hold without ${uncaught}`);
      if (present.length > 0 && request.script.failsAfter !== undefined)
        this.#wrong(recorded, "it threw and took hold");
      return;
    }
    if (request.script.failsAfter !== undefined) this.#wrong(recorded, "it was to throw and was acknowledged");
    const outputs = outcome.output as readonly StepOutput[];
    for (const [index, step] of steps.entries()) {
      const output = outputs[index]!;
      const tag = childTag.step(request.tag, index);
      if (output.step === "ran") this.#checkRan(recorded, step, tag, output.glimpse);
      else if (output.step === "looked")
        this.#checkSeen(request.tag, step, output.look, (why) => this.#wrong(recorded, why));
      else {
        if (this.#places.has(tag)) this.#wrong(recorded, `${tag} was refused inside, and took hold`);
        this.#checkRefusal(recorded, step, { code: output.code, details: output.glimpse, plan: step.plan! });
        this.#pin(request.tag, step, output.glimpse, (why) => this.#wrong(recorded, why));
      }
    }
  }

  #checkList(recorded: RecordedRequest, ids: readonly string[]): void {
    const { request } = recorded;
    if (request.type !== "list") return;
    for (const { kind, id } of this.#remembered.memoirs) {
      if (kind !== request.kind || kind === "mortal") continue;
      const first = this.#lives.get(`${kind}/${id}`)?.[0]?.journal[0]?.[0];
      if (first === undefined) {
        if (ids.includes(id)) this.#wrong(recorded, `it listed ${id}, which never was`);
        continue;
      }
      const creator = this.#recording.requestOf(unitOf(first));
      if (creator !== undefined && creator.answeredAt < recorded.askedAt && !ids.includes(id)) {
        this.#wrong(recorded, `it did not list ${id}, whose creation had been acknowledged`);
      }
    }
  }

  // ----------------------------------------------------------------------------------------------------------------- order

  checkOrder(): void {
    for (const [entity, lives] of this.#lives) {
      const isOrdered = !this.#remembered.unordered.has(entity);
      const tags = lives.flatMap(({ journal }) => journal.map(([tag]) => tag));
      for (let i = 1; i < tags.length; i++) {
        const [before, after] = [tags[i - 1]!, tags[i]!];
        const isSameLife = this.#places.get(before)!.life === this.#places.get(after)!.life;
        if (isSameLife || isOrdered) this.#graph.add(unitOf(before), unitOf(after), `order in ${entity}`);
      }
      for (const tag of tags) {
        const parent = this.#recording.intention(tag)!.parent;
        if (parent !== undefined) this.#graph.add(unitOf(parent), tag, "caused");
      }
    }
    this.#addTime();
    this.#addSequences();
    const cycle = this.#graph.cycle();
    if (cycle !== undefined) this.wrongs.push(`there is no order for:\n    ${cycle.join("\n    ")}`);
  }

  /** What was answered before another was asked for comes first. */
  #addTime(): void {
    const moments: { readonly at: number; readonly unit: string; readonly isAnswer: boolean }[] = [];
    for (const { index, request, askedAt, answeredAt, outcome } of this.#recording.requests) {
      const unit = "tag" in request ? request.tag : `#${index}`;
      moments.push({ at: askedAt, unit, isAnswer: false });
      if (outcome.kind === "ok" || outcome.kind === "refused") moments.push({ at: answeredAt, unit, isAnswer: true });
    }
    moments.sort((a, b) => a.at - b.at);
    for (const [index, { at, unit, isAnswer }] of moments.entries()) {
      const now = `time ${at}`;
      if (index > 0) this.#graph.add(`time ${moments[index - 1]!.at}`, now, "then");
      if (isAnswer) this.#graph.add(unit, now, "answered");
      else this.#graph.add(now, unit, "asked");
    }
  }

  /** Batches are in order, so what stands in an earlier one comes first. */
  #addSequences(): void {
    const groups = new Map<number, string[]>();
    for (const { request, outcome } of this.#recording.requests) {
      if (outcome.kind !== "ok" || !("tag" in request)) continue;
      const isWrite =
        request.type === "run" || request.script.steps.some((_, i) => this.#places.has(childTag.step(request.tag, i)));
      if (!isWrite) continue;
      groups.set(outcome.sequence, [...(groups.get(outcome.sequence) ?? []), request.tag]);
    }
    this.#graph.addGroups(
      [...groups].sort(([a], [b]) => a - b).map(([, units]) => units),
      "batch",
    );
  }
}

const nothingSeen: Glimpse = { birth: null, count: 0, balance: 0 };

function sameLook(a: Look, b: Look): boolean {
  return (
    a.birth === b.birth &&
    a.count === b.count &&
    a.balance === b.balance &&
    a.last === b.last &&
    a.items.length === b.items.length &&
    a.items.every(([key, value], index) => b.items[index]![0] === key && b.items[index]![1] === value)
  );
}

function isUnknown(outcome: RecordedRequest["outcome"]): boolean {
  return outcome.kind === "unknown" || (outcome.kind === "error" && outcome.retry === "unknown");
}
