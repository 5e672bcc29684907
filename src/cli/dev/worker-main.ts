/** The program of one worker of `onefold dev`; see `messages.ts` for what it is told and `worker.ts` for who tells it. */
import { OnefoldError } from "../../base/errors.ts";
import { type Served, serve } from "../../runtime/serve.ts";
import { curlCommand, examplesOf } from "../examples.ts";
import { exitCodeOf } from "../exit-code.ts";
import { errorText } from "../error-text.ts";
import { enableTypeScript, loadSystem, type SystemModule } from "../system-module.ts";
import type { FromWorker, ToWorker, WorkerOptions } from "./messages.ts";

let options: WorkerOptions | undefined;
let loaded: SystemModule | undefined;
let served: Served | undefined;

// The terminal sends its Ctrl-C to every process of the group; the parent alone decides what it means.
process.on("SIGINT", () => undefined);
process.on("SIGTERM", () => undefined);
// Without a parent there is nobody to serve: finish what was accepted and go.
process.on("disconnect", () => {
  release().then(
    () => process.exit(0),
    () => process.exit(1),
  );
});
process.on("message", (message) => {
  perform(message as ToWorker).then(tell, (error: unknown) => {
    tell({ kind: "failed", message: errorText(error), exitCode: exitCodeOf(error) });
  });
});
enableTypeScript();

async function perform(message: ToWorker): Promise<FromWorker> {
  switch (message.kind) {
    case "load": {
      options = message.options;
      loaded = await loadSystem(options.systemPath);
      const { definition } = loaded.system;
      const tryCommands = examplesOf(definition, loaded.examples).map((example) => ({
        title: example.title,
        command: curlCommand(example, "{url}"),
      }));
      return { kind: "loaded", system: definition.name, tryCommands };
    }
    case "open": {
      if (options === undefined || loaded === undefined) throw new OnefoldError("internal", "open came before load.");
      served = await serve({
        system: loaded.system,
        dataDirectory: options.dataDirectory,
        hostname: "127.0.0.1",
        port: 0,
        // Another process begins anew, from what is durable.
        onStopped: (error) => {
          process.stderr.write(`${errorText(error)}\n`);
          process.exit(exitCodeOf(error));
        },
      });
      return { kind: "serving", port: served.port };
    }
    case "release":
      await release();
      return { kind: "released" };
  }
}

async function release(): Promise<void> {
  const ending = served;
  served = undefined;
  // The gate is the only caller, and it sends nothing more.
  await ending?.close({ noticeMs: 0 });
}

function tell(message: FromWorker): void {
  process.send?.(message);
}
