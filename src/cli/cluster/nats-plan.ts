/**
 * A cluster of `nats-server` on this machine, as a plan that is kept: which servers, on which ports, with which credentials. The same
 * directory gives the same cluster again.
 *
 * All listens on loopback only. The engine's account has JetStream; the system account is what the start gate asks with.
 */
import { randomBytes, randomInt } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { regionTag } from "../../log/engine/nats/names.ts";
import { isSystemError } from "./nats-server.ts";

export interface NatsCredentials {
  readonly user: string;
  readonly pass: string;
}

export interface NatsMemberPlan {
  readonly name: string;
  /** Absent where there are none. */
  readonly region?: string;
  /** Where it listens; default: loopback. */
  readonly host?: string;
  readonly clientPort: number;
  readonly routePort: number;
  readonly monitorPort: number;
}

export interface NatsPlan {
  readonly members: readonly NatsMemberPlan[];
  /** The account that the logs are in. */
  readonly account: NatsCredentials;
  readonly systemAccount: NatsCredentials;
  readonly routes: NatsCredentials;
}

export interface NatsPlanOptions {
  readonly directory: string;
  /** 1, 3 or 5: others are no majority's. */
  readonly serverCount: number;
  /** Each has so many servers. */
  readonly regions?: readonly string[];
  /** The first server's; the others' follow. Absent: free ones. */
  readonly firstPort?: number;
}

const loopback = "127.0.0.1";
const planFile = "cluster.json";

/** The plan that is kept in the directory, or a new one that is kept there from now on. */
export async function natsPlan(options: NatsPlanOptions): Promise<NatsPlan> {
  const { directory, regions = [], firstPort } = options;
  const serverCount = options.serverCount * Math.max(1, regions.length);
  const path = join(directory, planFile);
  const text = await readIfPresent(path);
  if (text !== undefined) {
    const plan = JSON.parse(text) as NatsPlan;
    if (plan.members.length !== serverCount) {
      throw new Error(`${directory} has a cluster of ${plan.members.length} servers, not of ${serverCount}.`);
    }
    const kept = regionsOf(plan);
    if (kept.join() !== [...regions].sort().join()) {
      throw new Error(`${directory} has a cluster with other regions: ${kept.join(", ") || "none"}.`);
    }
    return plan;
  }
  const ports =
    firstPort === undefined
      ? await freePorts(serverCount * 3)
      : Array.from({ length: serverCount * 3 }, (_, index) => firstPort + index);
  const plan: NatsPlan = {
    members: Array.from({ length: serverCount }, (_, index) => ({
      name: `e${index + 1}`,
      ...(regions.length === 0 ? {} : { region: regions[index % regions.length]! }),
      clientPort: ports[index]!,
      routePort: ports[serverCount + index]!,
      monitorPort: ports[2 * serverCount + index]!,
    })),
    account: newCredentials("onefold"),
    systemAccount: newCredentials("system"),
    routes: newCredentials("route"),
  };
  await mkdir(directory, { recursive: true });
  await writeFile(path, JSON.stringify(plan, undefined, 2), { mode: 0o600 });
  return plan;
}

/** In the order of their names. */
function regionsOf({ members }: Pick<NatsPlan, "members">): readonly string[] {
  return [...new Set(members.flatMap(({ region }) => region ?? []))].sort();
}

/** On how many servers each log is: those of a region, or all. */
export function replicaCountOf(plan: Pick<NatsPlan, "members">): number {
  return plan.members.length / Math.max(1, regionsOf(plan).length);
}

function hostOf({ host = loopback }: NatsMemberPlan): string {
  return host;
}

export function clientUrl(member: NatsMemberPlan): string {
  return `nats://${hostOf(member)}:${member.clientPort}`;
}

export function monitorUrl(member: NatsMemberPlan): string {
  return `http://${hostOf(member)}:${member.monitorPort}`;
}

export function storeDirectory(directory: string, member: NatsMemberPlan): string {
  return join(directory, member.name, "store");
}

export function logFile(directory: string, member: NatsMemberPlan): string {
  return join(directory, member.name, "server.log");
}

export interface NatsConfigOptions {
  readonly directory: string;
  /** `always`, but where a test wants a lax server. */
  readonly syncInterval?: string;
  /** `host:port` of the others as this one reaches them, where something stands between; default: where they listen. */
  readonly routes?: readonly string[];
}

/** The text of one server's configuration file. */
export function natsConfig(plan: NatsPlan, member: NatsMemberPlan, options: NatsConfigOptions): string {
  const { directory, syncInterval = "always" } = options;
  const host = hostOf(member);
  const replicaCount = replicaCountOf(plan);
  const isBetween = options.routes !== undefined;
  const user = ({ user: name, pass }: NatsCredentials) => `{ user: ${name}, password: "${pass}" }`;
  const others = plan.members.filter(({ name }) => name !== member.name);
  const routes = options.routes ?? others.map((other) => `${hostOf(other)}:${other.routePort}`);
  const cluster =
    others.length === 0
      ? []
      : [
          "cluster {",
          "  name: onefold",
          `  listen: "${host}:${member.routePort}"`,
          `  authorization ${user(plan.routes)}`,
          `  routes: [${routes
            .map((address) => `"nats://${plan.routes.user}:${plan.routes.pass}@${address}"`)
            .join(", ")}]`,
          // Nobody is to learn a way around what stands between: not clients, and servers are told of one where nothing is.
          ...(isBetween ? ["  no_advertise: true", `  advertise: "${loopback}:1"`] : []),
          "}",
        ];
  return [
    `server_name: ${member.name}`,
    `listen: "${host}:${member.clientPort}"`,
    `http: "${host}:${member.monitorPort}"`,
    `log_file: "${logFile(directory, member)}"`,
    "logfile_size_limit: 16MB",
    "logfile_max_num: 2",
    ...(member.region === undefined ? [] : [`server_tags: ["${regionTag(member.region)}"]`]),
    "jetstream {",
    `  store_dir: "${storeDirectory(directory, member)}"`,
    `  sync_interval: ${syncInterval}`,
    // What is pinned nowhere is in as many regions as it has copies, where there are as many.
    ...(replicaCount > 1 && regionsOf(plan).length >= replicaCount ? [`  unique_tag: "${regionTag("")}"`] : []),
    "}",
    "accounts {",
    `  ONEFOLD { jetstream: enabled, users: [${user(plan.account)}] }`,
    `  SYS { users: [${user(plan.systemAccount)}] }`,
    "}",
    "system_account: SYS",
    ...cluster,
    "",
  ].join("\n");
}

function newCredentials(user: string): NatsCredentials {
  return { user, pass: randomBytes(16).toString("hex") };
}

/**
 * Below what systems hand out to outgoing connections by themselves, which come and go while a server is down. One of these ports may still be
 * taken by another program before it is used.
 */
const [portMin, portMax] = [10_000, 32_000];
const portTriesMax = 1_000;

/** Of loopback: free now, and all different. */
export async function freePorts(count: number): Promise<readonly number[]> {
  const ports = new Set<number>();
  for (let tries = 0; ports.size < count; tries++) {
    if (tries === portTriesMax) throw new Error("This machine has no free ports.");
    const port = randomInt(portMin, portMax);
    if (await isFree(port)) ports.add(port);
  }
  return [...ports];
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, loopback, () => server.close(() => resolve(true)));
  });
}

/** Undefined where there is no such file. */
export async function readIfPresent(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if (isSystemError(error) && error.code === "ENOENT") return undefined;
    throw error;
  }
}
