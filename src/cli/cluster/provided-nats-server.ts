/** `nats-server` for whoever runs a cluster on this machine: the one that is there, or one that is brought into the user's cache. */
import { homedir } from "node:os";
import { join } from "node:path";
import { CommandFailure, exitCodes } from "../exit-code.ts";
import { installNatsServer } from "./nats-install.ts";
import { findNatsServer, type NatsServerProgram } from "./nats-server.ts";

/** `progress` is told what is being done, which may take a minute. Throws `CommandFailure` (usage) that says what to install. */
export async function provideNatsServer(progress: (sentence: string) => void): Promise<NatsServerProgram> {
  const search = { environment: process.env, cacheDirectory: userCache() };
  try {
    return (await findNatsServer(search)) ?? (await installNatsServer({ ...search, progress }));
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new CommandFailure(exitCodes.usage, message, { cause });
  }
}

/** As the XDG Base Directory Specification has it; the same on systems that don't know that. */
function userCache(): string {
  const base = process.env.XDG_CACHE_HOME;
  return join(base === undefined || base === "" ? join(homedir(), ".cache") : base, "onefold", "nats-server");
}
