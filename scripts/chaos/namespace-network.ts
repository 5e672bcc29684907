/**
 * Each party in a network namespace of its own, with an address of its own, on one bridge: what cuts two of them off from one another is a
 * blackhole route, as a router or a firewall would do it. Linux, root and iproute2 are needed.
 *
 * NN1 Names and addresses are this process's own: two runs don't meet. `close` leaves nothing; where the run is killed, a watcher does it.
 * NN2 A cut way loses packets in its direction only. TCP hears nothing of that: connections stall, and go on when it is healed.
 */
import { execFile, spawn } from "node:child_process";
import { access } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import { clients, type Link, type Party, type RunNetwork, type Way } from "./links.ts";

const exec = promisify(execFile);

export class NamespaceNetwork implements RunNetwork {
  readonly kind = "namespaces";
  /** Routes have no such thing, and `tc netem` is not everywhere. */
  readonly slow = undefined;
  readonly #parties: readonly Party[];
  readonly #prefix = `of${process.pid}`;
  /** Of 10.64.0.0/10: its third byte and second one are of the process id. */
  readonly #subnet = `10.${64 + ((process.pid >> 8) & 63)}.${process.pid & 255}`;
  readonly #cut = new Set<string>();
  #end: () => void = () => undefined;

  private constructor(parties: readonly Party[]) {
    this.#parties = parties;
  }

  /** What this machine lacks for it; undefined where nothing. */
  static async lacks(): Promise<string | undefined> {
    if (process.platform !== "linux") return "network namespaces are Linux's";
    if (process.getuid?.() !== 0) return "only root may make network namespaces";
    if (!(await isOnPath("ip"))) return "there is no program 'ip' (Debian's package iproute2)";
    const probe = `of${process.pid}probe`;
    try {
      await ip(`netns add ${probe}`);
      try {
        await ip(`link add ${probe} type veth peer name eth0 netns ${probe}`);
        await ip(`-n ${probe} route add blackhole 192.0.2.1/32`);
      } finally {
        await ip(`netns del ${probe}`);
      }
      return undefined;
    } catch (error) {
      return error instanceof Error ? error.message.trim().split("\n").at(-1) : String(error);
    }
  }

  static async make(parties: readonly Party[]): Promise<NamespaceNetwork> {
    const network = new NamespaceNetwork(parties);
    network.#watch();
    try {
      await network.#build();
      return network;
    } catch (error) {
      await network.close();
      throw error;
    }
  }

  hostOf(party: Party): string {
    return `${this.#subnet}.${party === clients ? 1 : 10 + this.#parties.indexOf(party)}`;
  }

  prefixOf(party: Party): readonly string[] {
    return ["ip", "netns", "exec", this.#namespaceOf(party)];
  }

  async open(_links: readonly Link[]): Promise<void> {
    // All reach all.
  }

  addressOf({ to, port }: Link): string {
    return `${this.hostOf(to)}:${port}`;
  }

  async cut(ways: readonly Way[]): Promise<void> {
    await Promise.all(ways.map((way) => this.#cutWay(way)));
  }

  async heal(ways: readonly Way[]): Promise<void> {
    await Promise.all(ways.map((way) => this.#healWay(way)));
  }

  async healAll(): Promise<void> {
    await this.heal(
      [...this.#cut].map((name) => {
        const [from, to] = name.split(" ") as [Party, Party];
        return { from, to };
      }),
    );
  }

  async close(): Promise<void> {
    for (const party of this.#parties) await ip(`netns del ${this.#namespaceOf(party)}`).catch(absent);
    await ip(`link del ${this.#prefix}`).catch(absent);
    this.#end();
  }

  async #build(): Promise<void> {
    const bridge = this.#prefix;
    await ip(`link add ${bridge} type bridge`);
    await ip(`addr add ${this.hostOf(clients)}/24 dev ${bridge}`);
    await ip(`link set ${bridge} up`);
    for (const party of this.#parties) {
      const namespace = this.#namespaceOf(party);
      const veth = `${this.#prefix}${party}`;
      await ip(`netns add ${namespace}`);
      await ip(`link add ${veth} type veth peer name eth0 netns ${namespace}`);
      await ip(`link set ${veth} master ${bridge} up`);
      await ip(`-n ${namespace} addr add ${this.hostOf(party)}/24 dev eth0`);
      await ip(`-n ${namespace} link set eth0 up`);
      await ip(`-n ${namespace} link set lo up`);
    }
  }

  /** Two strikes may cut the same way: the first that heals it heals it. */
  async #cutWay({ from, to }: Way): Promise<void> {
    const name = `${from} ${to}`;
    if (this.#cut.has(name)) return;
    this.#cut.add(name);
    await ip(`${this.#at(from)}route add blackhole ${this.hostOf(to)}/32`);
  }

  async #healWay({ from, to }: Way): Promise<void> {
    if (!this.#cut.delete(`${from} ${to}`)) return;
    await ip(`${this.#at(from)}route del blackhole ${this.hostOf(to)}/32`);
  }

  #at(party: Party): string {
    return party === clients ? "" : `-n ${this.#namespaceOf(party)} `;
  }

  #namespaceOf(party: Party): string {
    return `${this.#prefix}-${party}`;
  }

  /** A shell that reads a pipe which only this process holds, and takes all down where that ends without `close`. */
  #watch(): void {
    const downs = [
      ...this.#parties.map((party) => `ip netns del ${this.#namespaceOf(party)}`),
      `ip link del ${this.#prefix}`,
    ];
    const watcher = spawn("sh", ["-c", `cat >/dev/null; sleep 1; ${downs.join("; ")}`], {
      stdio: ["pipe", "ignore", "ignore"],
      detached: true,
    });
    watcher.stdin!.on("error", () => undefined);
    this.#end = () => watcher.kill("SIGKILL");
  }
}

/** `words` as one text, for none of them has a space in it. */
async function ip(words: string): Promise<void> {
  await exec("ip", words.split(" "));
}

/** Where it was never made, or is gone with what it was in, there is nothing to take down. */
function absent(error: unknown): void {
  const text = error instanceof Error && "stderr" in error ? String(error.stderr) : "";
  if (!/No such file|Cannot find device/.test(text)) throw error;
}

async function isOnPath(program: string): Promise<boolean> {
  for (const directory of (process.env.PATH ?? "").split(delimiter)) {
    try {
      await access(join(directory, program));
      return true;
    } catch (error) {
      if (!(error instanceof Error && "code" in error)) throw error;
    }
  }
  return false;
}
