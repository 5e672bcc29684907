/** `onefold dev`: serves a system while it is being written; see `dev/supervisor.ts` for how it reloads. */
import { dirname, resolve } from "node:path";
import { Gate } from "./dev/gate.ts";
import type { TryCommand } from "./dev/messages.ts";
import { SourceWatcher } from "./dev/source-watcher.ts";
import { Supervisor, type SupervisorEvent } from "./dev/supervisor.ts";
import { CommandFailure, exitCodes } from "./exit-code.ts";
import type { Output } from "./output.ts";
import { listenForStop } from "./stop-signals.ts";
import { findSystemModule } from "./system-path.ts";
import { banner } from "./banner.ts";

export interface DevOptions {
  readonly data: string;
  readonly port: number;
  readonly json?: boolean;
}

const closeGraceMs = 10_000;

/** Runs until SIGTERM or SIGINT. With `json`, every event is a line of JSON. */
export async function dev(systemPath: string, options: DevOptions, output: Output): Promise<void> {
  const path = await findSystemModule(systemPath, process.cwd());
  const dataDirectory = resolve(options.data);
  const gate = new Gate();
  const port = await listen(gate, options.port);
  const url = `http://127.0.0.1:${port}`;
  const stop = listenForStop(() => output.note("Stopped at once."));

  const tell = (event: SupervisorEvent | { readonly kind: "changed"; readonly paths: readonly string[] }): void => {
    if (options.json === true) output.result(JSON.stringify({ url, dataDirectory, ...event }));
    else output.note(sentence(event, { url, dataDirectory }));
  };
  const supervisor = new Supervisor({ gate, worker: { systemPath: path, dataDirectory }, report: tell });
  const watcher = await SourceWatcher.start({
    folder: dirname(path),
    ignored: [dataDirectory],
    onChange: (paths) => {
      tell({ kind: "changed", paths });
      supervisor.changed();
    },
    onProblem: (message) => output.note(message),
  });

  await stop.asked;
  output.note("Finishing what was accepted; once more to stop at once.");
  watcher.close();
  await gate.close(closeGraceMs);
  await supervisor.stop();
}

async function listen(gate: Gate, port: number): Promise<number> {
  try {
    return await gate.listen("127.0.0.1", port);
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? String(cause.code) : "";
    if (code !== "EADDRINUSE" && code !== "EACCES") throw cause;
    const reason = code === "EADDRINUSE" ? "is in use" : "may not be used by this user";
    throw new CommandFailure(exitCodes.tryLater, `Port ${port} ${reason}. Choose another with --port.`, { cause });
  }
}

function sentence(
  event: SupervisorEvent | { readonly kind: "changed"; readonly paths: readonly string[] },
  place: { readonly url: string; readonly dataDirectory: string },
): string {
  switch (event.kind) {
    case "serving":
      return banner({
        ...place,
        system: event.system,
        tryCommands: event.tryCommands.map((each) => at(each, place.url)),
      });
    case "changed":
      return `Changed: ${event.paths.slice(0, 3).join(", ")}${event.paths.length > 3 ? ", …" : ""}`;
    case "reloaded":
      return `Reloaded in ${Math.round(event.loadMs + event.heldMs)} ms; requests waited ${Math.round(event.heldMs)} ms at most.`;
    case "load-failed":
      return `${event.message}\n${event.isServing ? "The former code goes on serving." : "Waiting for a change."}`;
    case "open-failed":
      return `The new code can't be served.\n${event.message}\n${
        event.isServing ? "The former code goes on serving." : "Waiting for a change."
      }`;
    case "died":
      return `The process that serves ended (${event.how}); starting another${
        event.pauseMs > 0 ? ` in ${event.pauseMs} ms` : ""
      }.`;
  }
}

function at(example: TryCommand, url: string): TryCommand {
  return { title: example.title, command: example.command.replaceAll("{url}", url) };
}
