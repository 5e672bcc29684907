/** `onefold start`: serves a system from one process, for production. */
import { resolve } from "node:path";
import type { OnefoldError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { endProcessThatHangs } from "../host/node/guard.ts";
import { limitHeapGrowth } from "../host/node/heap.ts";
import type { OpeningProgress } from "../runtime/embedded.ts";
import { serve } from "../runtime/serve.ts";
import { banner } from "./banner.ts";
import { curlCommand, examplesOf } from "./examples.ts";
import { hungExitCode } from "./exit-code.ts";
import type { Output } from "./output.ts";
import { listenForStop } from "./stop-signals.ts";
import { enableTypeScript, isTypeScript, loadSystem } from "./system-module.ts";
import { findSystemModule } from "./system-path.ts";

export interface StartOptions {
  readonly data: string;
  readonly port: number;
  readonly host: string;
  readonly json?: boolean;
}

/**
 * Runs until SIGTERM or SIGINT, then finishes what was accepted. With `json`, one line of JSON says that it serves. Throws as
 * `serve` does, and the node's own error if it stops by itself.
 */
export async function start(systemPath: string, options: StartOptions, output: Output): Promise<void> {
  limitHeapGrowth();
  const path = await findSystemModule(systemPath, process.cwd());
  if (isTypeScript(path)) enableTypeScript();
  const { system, examples } = await loadSystem(path);
  const dataDirectory = resolve(options.data);
  const stop = listenForStop(() => output.note("Stopped at once."));
  let failure: OnefoldError | undefined;
  let notice: (() => void) | undefined;
  const failed = new Promise<void>((noticed) => {
    notice = noticed;
  });
  const served = await serve({
    system,
    dataDirectory,
    hostname: options.host,
    port: options.port,
    onProgress: (progress) => output.progress(progressText(progress)),
    onStopped: (error) => {
      failure = error;
      notice?.();
    },
  });
  output.progress("");
  endProcessThatHangs({ hangMs: limits.hangMs, exitCode: hungExitCode });

  const facts = { system: system.definition.name, url: served.url, dataDirectory };
  if (options.json === true) output.result(JSON.stringify({ kind: "serving", ...facts }));
  else {
    const tryCommands = examplesOf(system.definition, examples).map((example) => ({
      title: example.title,
      command: curlCommand(example, served.url),
    }));
    output.result(banner({ ...facts, tryCommands }));
  }

  await Promise.race([stop.asked, failed]);
  if (failure === undefined) output.note("Finishing what was accepted; once more to stop at once.");
  await served.close();
  if (failure !== undefined) throw failure;
}

function progressText(progress: OpeningProgress): string {
  const { step, sequence, endSequence } = progress;
  if (step === "ready") return "";
  return sequence === undefined ? `Opening the ${step}` : `Opening: ${step} ${sequence} of ${endSequence ?? "?"}`;
}
