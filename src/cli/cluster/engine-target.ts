/** Where the engine of a cluster is, from the options of commands that write to one as no node of it: `promote` and `restore`. */
import { resolve } from "node:path";
import type { PromotionTarget } from "../../wire/promotion.ts";
import { readNodeTls } from "../tls-files.ts";
import { readLogins } from "./engine-connector.ts";

export interface EngineTargetOptions {
  readonly to: string;
  readonly engineCredentials?: string;
  readonly engineReplicas: string;
  readonly engineName?: string;
  readonly nodeCert?: string;
  readonly nodeKey?: string;
  readonly nodeCa?: string;
}

/** Reads what is to be read. Throws `CommandFailure` (usage). */
export async function targetOf(options: EngineTargetOptions): Promise<PromotionTarget> {
  const { nodeCa, nodeCert, nodeKey, engineName } = options;
  const hasTls = (await readNodeTls(options)) !== undefined;
  const tls = hasTls
    ? { tls: { caFile: resolve(nodeCa!), certFile: resolve(nodeCert!), keyFile: resolve(nodeKey!) } }
    : {};
  return {
    to: options.to,
    replicaCount: Number(options.engineReplicas) as 1 | 3 | 5,
    ...(engineName === undefined ? {} : { engineName }),
    ...(await readLogins(options.engineCredentials)),
    ...tls,
  };
}
