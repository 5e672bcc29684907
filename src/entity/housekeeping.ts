/**
 * A shard's housekeeping: removes what nobody may ask for any more, or nobody has looked at in time, by entries of its own,
 * a portion at a time and each in its turn between the calls.
 */
import type { Core } from "./core.ts";
import { ownWork } from "./own-work.ts";
import { Requests } from "./requests.ts";

/** Records that one entry removes, and the rest before the next where there are more. */
const portion = 512;
const pauseMs = 20;

/** Goes on for as long as `isOpen` says so. */
export function keepHouse(core: Core, isOpen: () => boolean): void {
  core.host.timers.after(core.limits.housekeepingIntervalMs, () => {
    if (!isOpen()) return;
    // Looked for when its turn has come, because a key that has expired may be used anew while this waits.
    core.executor.resubmit(ownWork(core, () => core.mailroom.removeOverdue()));
    core.executor.resubmit(ownWork(core, () => expireRequests(core)));
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
  host.timers.after(pauseMs, () => executor.resubmit(ownWork(core, () => expireRequests(core))));
}
