/** Requests that are under way, by what identifies them: a repetition waits for the one that came first, and runs no body meanwhile. */
import type { RequestIdentity } from "../entity/requests.ts";

export class Repetitions<R> {
  /** In order of their coming; the first of each is under way. */
  readonly #runs = new Map<string, R[]>();

  /** True if it is the first; else it waits for its turn. */
  enter(request: RequestIdentity, run: R): boolean {
    const key = keyOf(request);
    const runs = this.#runs.get(key);
    if (runs === undefined) this.#runs.set(key, [run]);
    else runs.push(run);
    return runs === undefined;
  }

  /** It has been answered. Returns the one whose turn it is now, if there is one. */
  leave(request: RequestIdentity, run: R): R | undefined {
    const key = keyOf(request);
    const runs = this.#runs.get(key) ?? [];
    const at = runs.indexOf(run);
    if (at < 0) return undefined;
    runs.splice(at, 1);
    if (runs.length === 0) this.#runs.delete(key);
    return at === 0 ? runs[0] : undefined;
  }
}

function keyOf(request: RequestIdentity): string {
  return request.type === "session" ? `${request.session}${request.number}` : request.digest;
}
