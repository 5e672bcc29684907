/** `onefold start`: serves a system from one process, for production: embedded, or as a node of a cluster. */
import { resolve } from "node:path";
import type { OpeningProgress } from "../runtime/embedded.ts";
import type { MemberStartOptions } from "./cluster/member-options.ts";
import type { Output } from "./output.ts";
import { serveUntilStopped } from "./serving.ts";
import { type PortTlsOptions, readPortTls } from "./tls-files.ts";

export interface StartOptions extends PortTlsOptions, Partial<MemberStartOptions> {
  readonly data: string;
  readonly port: number;
  readonly host: string;
  readonly json?: boolean;
}

/** Throws as `serveUntilStopped` does, and `CommandFailure` for options that don't go together. */
export async function start(systemPath: string, options: StartOptions, output: Output): Promise<void> {
  if (options.cluster !== undefined) {
    const { startMember } = await import("./cluster/start-member.ts");
    return startMember(systemPath, { ...options, cluster: options.cluster }, output);
  }
  const { serve } = await import("../runtime/serve.ts");
  const dataDirectory = resolve(options.data);
  const tls = await readPortTls(options);
  await serveUntilStopped(
    {
      systemPath,
      dataDirectory,
      json: options.json === true,
      open: async (system, onStopped) => {
        const served = await serve({
          system,
          dataDirectory,
          hostname: options.host,
          port: options.port,
          ...(tls === undefined ? {} : { tls }),
          onProgress: (progress) => output.progress(progressText(progress)),
          onStopped,
        });
        return { served, ready: Promise.resolve(), facts: {} };
      },
    },
    output,
  );
}

function progressText(progress: OpeningProgress): string {
  const { step, sequence, endSequence } = progress;
  if (step === "ready") return "";
  return sequence === undefined ? `Opening the ${step}` : `Opening: ${step} ${sequence} of ${endSequence ?? "?"}`;
}
