/** Asks nodes, once a second, how they are, and tells what has changed. */

export interface NodeHealth {
  readonly node: string;
  /** `ready`, what `/readyz` says instead, or `silent` where nobody answers. */
  readonly state: string;
  /** Why, where it is not ready; what to look at, where it is. */
  readonly problems: readonly string[];
}

const intervalMs = 1000;
/** Until all have been well once, somebody waits for it. */
const firstIntervalMs = 100;
const answerMs = 2000;
const problemsShownMax = 3;

export class HealthWatch {
  readonly #tell: (health: NodeHealth) => void;
  readonly #urls = new Map<string, string>();
  readonly #last = new Map<string, string>();
  /** Those that were ready, without problems, when they were asked last. */
  readonly #well = new Set<string>();
  #onWell: (() => void) | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isOver = false;

  constructor(tell: (health: NodeHealth) => void) {
    this.#tell = tell;
    this.#wait();
  }

  /** Resolves when all nodes that are looked after are ready, and none has problems. */
  untilWell(): Promise<void> {
    return new Promise((resolve) => {
      this.#onWell = resolve;
    });
  }

  /** The node is looked after from now on, at this address. */
  add(node: string, url: string): void {
    this.#urls.set(node, url);
  }

  /** The node has ended, which whoever says so has told. */
  remove(node: string): void {
    this.#urls.delete(node);
    this.#last.delete(node);
    this.#well.delete(node);
  }

  close(): void {
    this.#isOver = true;
    clearTimeout(this.#timer);
  }

  #wait(): void {
    const afterMs = this.#onWell === undefined ? intervalMs : firstIntervalMs;
    this.#timer = setTimeout(() => {
      void this.#look().then(() => {
        if (!this.#isOver) this.#wait();
      });
    }, afterMs);
  }

  async #look(): Promise<void> {
    await Promise.all(
      [...this.#urls].map(async ([node, url]) => {
        const health = await ask(node, url);
        if (this.#isOver || this.#urls.get(node) !== url) return;
        if (health.state === "ready" && health.problems.length === 0) this.#well.add(node);
        else this.#well.delete(node);
        const text = JSON.stringify(health);
        if (this.#last.get(node) === text) return;
        this.#last.set(node, text);
        this.#tell(health);
      }),
    );
    if (this.#urls.size > 0 && this.#well.size === this.#urls.size) {
      this.#onWell?.();
      this.#onWell = undefined;
    }
  }
}

/** Never throws: who does not answer is silent. */
async function ask(node: string, url: string): Promise<NodeHealth> {
  try {
    const response = await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(answerMs) });
    const body = (await response.json()) as { readonly state?: unknown; readonly problems?: unknown };
    const given = Array.isArray(body.problems) ? body.problems.map(String) : [];
    return {
      node,
      state: typeof body.state === "string" ? body.state : "not ready",
      problems: summary(given),
    };
  } catch {
    // Whatever the reason is: nothing that could be said of the node came from it.
    return { node, state: "silent", problems: [] };
  }
}

function summary(problems: readonly string[]): readonly string[] {
  if (problems.length <= problemsShownMax) return problems;
  return [...problems.slice(0, problemsShownMax), `and ${problems.length - problemsShownMax} more`];
}
