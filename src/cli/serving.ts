/** What `start` does whatever it starts: the system's module, signals, the watch over a process that hangs, and the end. */
import type { OnefoldError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import type { SystemHandle } from "../entity/definition.ts";
import { endProcessThatHangs } from "../host/node/guard.ts";
import { limitHeapGrowth } from "../host/node/heap.ts";
import type { Served } from "../runtime/serve.ts";
import { boundedStop } from "./bounded-stop.ts";
import { banner } from "./banner.ts";
import { curlCommand, examplesOf } from "./examples.ts";
import { hungExitCode } from "./exit-code.ts";
import type { Output } from "./output.ts";
import { listenForStop } from "./stop-signals.ts";
import { enableTypeScript, isTypeScript, loadSystem } from "./system-module.ts";
import { findSystemModule } from "./system-path.ts";

export interface ServingOptions {
  readonly systemPath: string;
  readonly dataDirectory: string;
  readonly json: boolean;
  /** Opens the node. `onStopped`: it has stopped by itself, for good. */
  readonly open: (system: SystemHandle, onStopped: (error: OnefoldError) => void) => Promise<Opened>;
}

export interface Opened {
  readonly served: Served;
  /** Resolves when calls are served; what it throws ends the node. */
  readonly ready: Promise<void>;
  /** What the line of JSON says besides what all say. */
  readonly facts: Readonly<Record<string, string | number>>;
}

/**
 * Runs until SIGTERM or SIGINT, then finishes what was accepted, for `stopMs` at most: then it ends the process. With `json`, one line of JSON says that it serves. Throws as
 * `open` does, and the node's own error if it stops by itself.
 */
export async function serveUntilStopped(options: ServingOptions, output: Output): Promise<void> {
  const { systemPath, dataDirectory, json } = options;
  limitHeapGrowth();
  const path = await findSystemModule(systemPath, process.cwd());
  if (isTypeScript(path)) enableTypeScript();
  const { system, examples } = await loadSystem(path);
  const stop = listenForStop(() => output.note("Stopped at once."));
  let failure: OnefoldError | undefined;
  let notice: (() => void) | undefined;
  const failed = new Promise<void>((noticed) => {
    notice = noticed;
  });
  const { served, ready, facts } = await options.open(system, (error) => {
    failure = error;
    notice?.();
  });
  output.progress("");
  endProcessThatHangs({ hangMs: limits.hangMs, exitCode: hungExitCode });
  try {
    const isAsked = stop.asked.then(() => true);
    const isReady = await Promise.race([ready.then(() => true), isAsked.then(() => false)]);
    if (isReady) {
      say({ system, examples, url: served.url, dataDirectory, facts }, json, output);
      await Promise.race([isAsked, failed]);
    }
    if (failure === undefined) output.note("Finishing what was accepted; once more to stop at once.");
  } finally {
    await boundedStop(served.close(), {
      withinMs: limits.stopMs,
      giveUp: () => {
        output.note(
          "It could not be finished in time: the disk, or the cluster's engine, does not answer. The node ends without.",
        );
        process.exit(hungExitCode);
      },
    });
  }
  if (failure !== undefined) throw failure;
}

function say(
  serving: {
    readonly system: SystemHandle;
    readonly examples: unknown;
    readonly url: string;
    readonly dataDirectory: string;
    readonly facts: Opened["facts"];
  },
  json: boolean,
  output: Output,
): void {
  const { system, examples, url, dataDirectory, facts } = serving;
  const common = { system: system.definition.name, url, dataDirectory };
  if (json) {
    output.result(JSON.stringify({ kind: "serving", ...common, ...facts }));
    return;
  }
  const tryCommands = examplesOf(system.definition, examples).map((example) => ({
    title: example.title,
    command: curlCommand(example, url),
  }));
  output.result(banner({ ...common, tryCommands }));
}
