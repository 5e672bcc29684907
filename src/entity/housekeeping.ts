/**
 * A shard's housekeeping: removes what nobody may ask for any more, or nobody has looked at in time, by entries of its own,
 * a portion at a time and each in its turn between the calls.
 */
import { OnefoldError } from "../base/errors.ts";
import type { Core } from "./core.ts";
import { Requests } from "./requests.ts";
import type { Work } from "./work.ts";

/** Records that one entry removes, and the rest before the next where there are more. */
const portion = 512;
const pauseMs = 20;

/** Goes on for as long as `isOpen` says so. */
export function keepHouse(core: Core, isOpen: () => boolean): void {
  core.host.timers.after(core.limits.housekeepingIntervalMs, () => {
    if (!isOpen()) return;
    // Looked for when its turn has come, because a key that has expired may be used anew while this waits.
    core.executor.resubmit(inTurn(core, () => core.mailroom.removeOverdue()));
    core.executor.resubmit(inTurn(core, () => expireRequests(core)));
    keepHouse(core, isOpen);
  });
}

/** Removes outcomes that have expired. */
function expireRequests(core: Core): void {
  const { store, working, committer, executor, host } = core;
  const expired = Requests.expired(store, working, committer.timeMs, portion);
  if (expired.length === 0) return;
  core.takeIn(core.entry({ origin: "admin", command: "expire", subject: "onefold", expired }));
  // There is probably more: the pace of expiry must not be what bounds the pace of requests.
  if (expired.length < portion) return;
  host.timers.after(pauseMs, () => executor.resubmit(inTurn(core, () => expireRequests(core))));
}

/** A work of the shard's own that runs no user code. */
function inTurn(core: Core, execute: () => void): Work {
  let isSettled = false;
  return {
    deadlineMs: Number.POSITIVE_INFINITY,
    sizeBytes: 0,
    get isSettled() {
      return isSettled;
    },
    execute: () => {
      isSettled = true;
      try {
        execute();
      } catch (error) {
        if (!(error instanceof OnefoldError) || error.code !== "damaged") throw error;
        core.onDamage(error);
      }
    },
    release: () => undefined,
    fail: () => undefined,
    stopped: () => undefined,
  };
}
