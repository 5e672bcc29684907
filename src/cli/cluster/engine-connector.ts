/** How a node of a cluster reaches its engine, from the options of `onefold start --cluster`. */
import { readFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { z } from "zod";
import type { NatsLogin, NatsTls } from "../../log/engine/nats/connection.ts";
import type { ClusterEngine } from "../../runtime/cluster-engine.ts";
import { connectNatsCluster } from "../../runtime/nats-cluster.ts";
import type { EngineLogin } from "../../wire/promotion.ts";
import { CommandFailure, exitCodes } from "../exit-code.ts";

const login = z.union([
  z.strictObject({ user: z.string(), pass: z.string() }),
  z.strictObject({ token: z.string() }),
  z.strictObject({ credentialsFile: z.string() }),
]);
const credentials = z.strictObject({ account: login.optional(), system: login.optional() });

export interface EngineOptions {
  /** `nats://host:port`, with commas between. */
  readonly servers: string;
  readonly replicaCount: 1 | 3 | 5;
  /** A file of JSON: `{"account": LOGIN, "system": LOGIN}`; a login is `{user, pass}`, `{token}` or `{credentialsFile}`. */
  readonly credentialsPath: string | undefined;
  readonly tls: NatsTls | undefined;
}

/**
 * Reads what is to be read, and gives what connects; `cluster` begins the names of what is kept there. Throws `CommandFailure` (usage) for
 * what can't be understood.
 */
export async function engineConnector(
  options: EngineOptions,
): Promise<(cluster: string) => () => Promise<ClusterEngine>> {
  const { replicaCount, tls } = options;
  const servers = options.servers.split(",").map(parseServer);
  const { account, system } = await readCredentials(options.credentialsPath);
  return (cluster) => () =>
    connectNatsCluster({ servers, cluster, replicaCount, login: account, systemLogin: system, tls });
}

function parseServer(text: string): string {
  const trimmed = text.trim();
  if (/^(nats|tls):\/\/[^/\s]+$/.test(trimmed)) return trimmed;
  throw new CommandFailure(exitCodes.usage, `--cluster takes nats://host:port, with commas between, not '${text}'.`);
}

/** The logins as a node is told them that connects by itself. Throws as `engineConnector`. */
export async function readLogins(
  path: string | undefined,
): Promise<{ readonly account?: EngineLogin; readonly system?: EngineLogin }> {
  const { account, system } = await readCredentials(path);
  return {
    ...(account === undefined ? {} : { account: plainLogin(account) }),
    ...(system === undefined ? {} : { system: plainLogin(system) }),
  };
}

function plainLogin(login: NatsLogin): EngineLogin {
  return "credentials" in login ? { credentials: Buffer.from(login.credentials).toString("base64") } : login;
}

async function readCredentials(
  path: string | undefined,
): Promise<{ readonly account: NatsLogin | undefined; readonly system: NatsLogin | undefined }> {
  if (path === undefined) return { account: undefined, system: undefined };
  const directory = dirname(resolve(path));
  try {
    const { account, system } = credentials.parse(JSON.parse(await readFile(path, "utf8")));
    return { account: await loginOf(account, directory), system: await loginOf(system, directory) };
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new CommandFailure(exitCodes.usage, `${path} does not say how to sign in to the engine: ${reason}`, {
      cause,
    });
  }
}

async function loginOf(given: z.infer<typeof login> | undefined, directory: string): Promise<NatsLogin | undefined> {
  if (given === undefined || !("credentialsFile" in given)) return given;
  return { credentials: await readFile(resolve(directory, given.credentialsFile)) };
}
