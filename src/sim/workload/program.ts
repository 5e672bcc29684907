/**
 * Random programs: what each client asks for, in which order and with which pauses. A program is plain data, made from a seed
 * before anything runs, so that the same seed gives the same requests whatever the system does.
 */
import type { SeededRandom } from "../../base/random.ts";
import type { Ending, EntityName, Plan, Step } from "./plan.ts";
import type { Request } from "./recording.ts";

export interface ProgramAction {
  readonly request: Request;
  readonly protection: "none" | "session" | "key";
  /** Virtual time before it is sent. */
  readonly pauseMs: number;
  /** Sent without waiting for the answer of the one before. */
  readonly isConcurrent: boolean;
  readonly deadlineMs: number;
  /** After it was answered it is sent once more, and must be answered the same. */
  readonly isRepeated: boolean;
  /** How long after the answer; at once where absent. */
  readonly repeatAfterMs?: number;
}

export interface ProgramClient {
  readonly name: string;
  readonly actions: readonly ProgramAction[];
}

export interface Program {
  readonly clients: readonly ProgramClient[];
}

export interface ProgramOptions {
  readonly names: readonly EntityName[];
  readonly clientCount: number;
  readonly actionCount: number;
  readonly pauseMsMax: number;
}

export function makeProgram(random: SeededRandom, options: ProgramOptions): Program {
  const weights = makeWeights(random);
  const clients = Array.from({ length: options.clientCount }, (_, at) => {
    const maker = new ProgramMaker(random.fork(`client-${at}`), `c${at}`, options.names, weights);
    return {
      name: `c${at}`,
      actions: Array.from({ length: options.actionCount }, () => maker.action(options.pauseMsMax)),
    };
  });
  return { clients };
}

/** How often things happen in this program: a program with little of most goes where a mixture never does. */
interface Weights {
  readonly hot: number;
  readonly concurrent: number;
  readonly script: number;
  readonly read: number;
  readonly sends: number;
  readonly timers: number;
  readonly fails: number;
  readonly spends: number;
  readonly protected: number;
}

function makeWeights(random: SeededRandom): Weights {
  const weight = (): number => random.pick([0, 0.1, 0.3, 0.6]);
  return {
    hot: random.pick([0, 0.5, 0.9]),
    concurrent: random.pick([0.2, 0.5, 0.9]),
    script: weight(),
    read: random.pick([0.1, 0.3, 0.5]),
    sends: weight(),
    timers: random.pick([0, 0.1, 0.3]),
    fails: random.pick([0, 0.1, 0.2]),
    spends: random.pick([0, 0, 0.2]),
    protected: random.pick([0, 0.5, 1]),
  };
}

class ProgramMaker {
  readonly #random: SeededRandom;
  readonly #client: string;
  readonly #names: readonly EntityName[];
  readonly #weights: Weights;
  #count = 0;

  constructor(random: SeededRandom, client: string, names: readonly EntityName[], weights: Weights) {
    this.#random = random;
    this.#client = client;
    this.#names = names;
    this.#weights = weights;
  }

  action(pauseMsMax: number): ProgramAction {
    const random = this.#random;
    return {
      request: this.#request(),
      protection: random.chance(this.#weights.protected) ? random.pick(["session", "session", "key"]) : "none",
      pauseMs: random.chance(0.3) ? 0 : random.next() * pauseMsMax,
      isConcurrent: random.chance(this.#weights.concurrent),
      deadlineMs: random.chance(0.1) ? random.between(1, 50) : 20_000,
      isRepeated: random.chance(0.2),
      // Longer than a short session lives.
      ...(random.chance(0.2) ? { repeatAfterMs: 3500 } : {}),
    };
  }

  #name(): EntityName {
    // The first two are the hot ones; which they are differs with the seed.
    return this.#random.chance(this.#weights.hot)
      ? this.#names[this.#random.integer(2)]!
      : this.#random.pick(this.#names);
  }

  #request(): Request {
    const random = this.#random;
    if (random.chance(this.#weights.read)) {
      const name = this.#name();
      if (random.chance(0.1)) return { type: "list", kind: name.kind };
      if (random.chance(0.2)) return { type: "history", ...name, pageSize: random.between(1, 4) };
      return { type: "look", ...name };
    }
    const tag = `${this.#client}-${this.#count++}`;
    if (random.chance(this.#weights.script)) return this.#script(tag);
    const name = this.#name();
    if (name.kind === "mortal" && random.chance(0.1)) return { type: "delete", ...name };
    return { type: "run", ...name, tag, plan: this.#plan(name, 0) };
  }

  #plan(name: EntityName, depth: number): Plan {
    const random = this.#random;
    const { sends, timers, fails, spends } = this.#weights;
    const plan: { -readonly [Part in keyof Plan]: Plan[Part] } = {};
    if (random.chance(0.7)) plan.add = random.between(-40, 60);
    if (random.chance(0.3)) plan.put = [[`k${random.integer(6)}`, random.integer(1000)]];
    if (random.chance(0.15)) plan.remove = [`k${random.integer(6)}`];
    if (depth < 3 && random.chance(sends)) {
      plan.sends = Array.from({ length: random.between(1, 3) }, () => {
        // Often to itself or back: cycles.
        const to = random.chance(0.3) ? name : this.#name();
        return { ...to, plan: this.#plan(to, depth + 1) };
      });
    }
    if (depth < 3 && random.chance(timers)) {
      plan.timers = Array.from({ length: random.between(1, 2) }, () => ({
        delayMs: random.pick([0, random.between(1, 300), random.between(300, 5000)]),
        key: `t${random.integer(3)}`,
        plan: this.#plan(name, depth + 1),
      }));
    }
    if (random.chance(timers / 3)) plan.cancel = `t${random.integer(3)}`;
    if (random.chance(spends)) plan.spendMs = random.between(1, 20);
    if (random.chance(fails)) plan.end = random.pick<Ending>(["refuse", "refuse", "throw", "spin", "bloat"]);
    else if (name.kind === "mortal" && random.chance(0.15)) plan.end = "delete";
    return plan;
  }

  #script(tag: string): Request {
    const random = this.#random;
    const steps: Step[] = [];
    const shape = random.integer(5);
    if (shape === 0) {
      // A transfer.
      const cents = random.between(1, 50);
      steps.push({ ...this.#name(), plan: { add: -cents } }, { ...this.#name(), plan: { add: cents } });
    } else if (shape === 1) {
      // There and back.
      const [a, b] = [this.#name(), this.#name()];
      steps.push(this.#step(a), this.#step(b), { ...a, plan: this.#plan(a, 1) }, { ...a });
    } else if (shape === 2) {
      // Only reads.
      for (let count = random.between(2, 5); count > 0; count--) steps.push({ ...this.#name() });
    } else {
      for (let count = random.between(1, 5); count > 0; count--) steps.push(this.#step(this.#name()));
    }
    const isParallel = random.chance(0.2);
    const fails = !isParallel && random.chance(this.#weights.fails);
    const name = random.chance(0.7) ? "script" : "roam";
    const failing = fails ? { failsAfter: random.integer(steps.length) } : {};
    return { type: "script", name, tag, script: { tag, steps, ...(isParallel ? { isParallel } : {}), ...failing } };
  }

  #step(name: EntityName): Step {
    const random = this.#random;
    if (random.chance(0.3)) return { ...name };
    return { ...name, plan: this.#plan(name, 1), ...(random.chance(0.5) ? { catches: true } : {}) };
  }
}
