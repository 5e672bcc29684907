/** Certificates and keys from files, as options name them, looked at before anything is started with them. */
import { readFile } from "node:fs/promises";
import { createSecureContext } from "node:tls";
import type { GatewayTls } from "../gateway/http-server.ts";
import type { NetworkTls } from "../host/node/network-tls.ts";
import { CommandFailure, exitCodes } from "./exit-code.ts";

/** What the port shows its callers. */
export interface PortTlsOptions {
  readonly tlsCert?: string;
  readonly tlsKey?: string;
}

/** What the node shows its peers and the engine, and whom it takes. */
export interface NodeTlsOptions {
  readonly nodeCert?: string;
  readonly nodeKey?: string;
  readonly nodeCa?: string;
}

/** Undefined without the options. Throws `CommandFailure` (usage) for one without the other, and for files that are no pair. */
export async function readPortTls({ tlsCert, tlsKey }: PortTlsOptions): Promise<GatewayTls | undefined> {
  if (tlsCert === undefined && tlsKey === undefined) return undefined;
  if (tlsCert === undefined || tlsKey === undefined) {
    throw new CommandFailure(exitCodes.usage, "--tls-cert and --tls-key go together.");
  }
  const tls = { certificate: await read(tlsCert), key: await read(tlsKey) };
  assertUsable({ cert: tls.certificate, key: tls.key }, `${tlsCert} and ${tlsKey}`);
  return tls;
}

/** As `readPortTls`, for the three options of links between nodes. */
export async function readNodeTls({ nodeCert, nodeKey, nodeCa }: NodeTlsOptions): Promise<NetworkTls | undefined> {
  if (nodeCert === undefined && nodeKey === undefined && nodeCa === undefined) return undefined;
  if (nodeCert === undefined || nodeKey === undefined || nodeCa === undefined) {
    throw new CommandFailure(exitCodes.usage, "--node-cert, --node-key and --node-ca go together.");
  }
  const tls = { certificate: await read(nodeCert), key: await read(nodeKey), authority: await read(nodeCa) };
  assertUsable({ cert: tls.certificate, key: tls.key, ca: tls.authority }, `${nodeCert}, ${nodeKey} and ${nodeCa}`);
  return tls;
}

async function read(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? String(cause.code) : "unknown";
    throw new CommandFailure(exitCodes.usage, `${path} can't be read (${code}).`, { cause });
  }
}

function assertUsable(
  parts: { readonly cert: string; readonly key: string; readonly ca?: string },
  where: string,
): void {
  try {
    createSecureContext(parts);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new CommandFailure(exitCodes.usage, `${where} are no certificate with its key, in PEM: ${reason}`, { cause });
  }
}
