/** `onefold start --cluster`: serves a system as a node of a cluster. */
import { hostname } from "node:os";
import { resolve } from "node:path";
import { limits } from "../../base/limits.ts";
import { engineNameOf } from "../../runtime/nats-cluster.ts";
import { serveMember } from "../../runtime/serve-member.ts";
import { CommandFailure, exitCodes } from "../exit-code.ts";
import type { Output } from "../output.ts";
import { serveUntilStopped } from "../serving.ts";
import { type PortTlsOptions, readNodeTls, readPortTls } from "../tls-files.ts";
import { engineConnector } from "./engine-connector.ts";
import type { MemberStartOptions } from "./member-options.ts";

export interface StartMemberOptions extends Partial<MemberStartOptions>, PortTlsOptions {
  readonly cluster: string;
  readonly data: string;
  readonly port: number;
  readonly host: string;
  readonly json?: boolean;
}

/** Throws as `serveUntilStopped` does, and `CommandFailure` (usage) for options that can't be. */
export async function startMember(systemPath: string, options: StartMemberOptions, output: Output): Promise<void> {
  const dataDirectory = resolve(options.data);
  const name = nodeName(options.name);
  const tls = await readPortTls(options);
  const networkTls = await readNodeTls(options);
  const { nodeCa, nodeCert, nodeKey } = options;
  const connectTo = await engineConnector({
    servers: options.cluster,
    replicaCount: Number(options.engineReplicas ?? 3) as 1 | 3 | 5,
    credentialsPath: options.engineCredentials,
    tls: networkTls === undefined ? undefined : { caFile: nodeCa!, certFile: nodeCert!, keyFile: nodeKey! },
  });
  await serveUntilStopped(
    {
      systemPath,
      dataDirectory,
      json: options.json === true,
      open: async (system, onStopped) => {
        const served = await serveMember({
          system,
          dataDirectory,
          name,
          hostname: options.host,
          port: options.port,
          address: options.nodeAddress ?? "127.0.0.1:0",
          ...(options.nodeListen === undefined ? {} : { listenOn: options.nodeListen }),
          labels: options.label ?? {},
          connectEngine: connectTo(engineName(options.engineName ?? engineNameOf(system.definition.name))),
          allowsLaxEngine: options.unsafeDurability === true,
          ...(options.httpUrl === undefined ? {} : { httpUrl: options.httpUrl }),
          ...(options.shards === undefined ? {} : { shardCount: options.shards }),
          ...(options.followers === undefined ? {} : { followerCount: options.followers }),
          ...(options.regions === undefined ? {} : { regions: options.regions }),
          mayFound: options.awaitSystem !== true,
          ...(tls === undefined ? {} : { tls }),
          ...(networkTls === undefined ? {} : { networkTls }),
          onStopped,
        });
        output.note(`${name} listens at ${served.url} and joins its cluster.`);
        return { served, ready: served.joined, facts: { node: name, pid: process.pid, http: served.url } };
      },
    },
    output,
  );
}

/** Of letters and digits alone, as names in the engine are. Two systems whose names differ in other characters need `--engine-name`. */
function engineName(name: string): string {
  if (/^[a-z0-9]{1,32}$/.test(name)) return name;
  throw new CommandFailure(
    exitCodes.usage,
    `A cluster's name in its engine has up to 32 of a-z and 0-9, and '${name}' is none. Give one with --engine-name.`,
  );
}

/** A node's name tells it apart from the others, for all its lives: by default the machine's. */
function nodeName(given: string | undefined): string {
  const name = given ?? hostname().split(".")[0]!;
  if (/^[A-Za-z0-9_-]+$/.test(name) && name.length <= limits.nodeNameBytesMax) return name;
  throw new CommandFailure(
    exitCodes.usage,
    `A node's name has up to ${limits.nodeNameBytesMax} of the characters A–Z a–z 0–9 _ -, and '${name}' has others. Give one with --name.`,
  );
}
