/** `onefold top`: how busy a node is, live: from its metrics, once a second or so. */
import { CommandFailure, exitCodes } from "./exit-code.ts";
import { askNode, type NodeOptions, readNode } from "./node-client.ts";
import type { Output } from "./output.ts";
import { loadLine, loadScreen } from "./top/screen.ts";
import { type ClusterLoad, clusterLoadBetween } from "./top/cluster-load.ts";
import { type Load, loadBetween } from "./top/load.ts";
import { parseScrape, type Scrape } from "./top/scrape.ts";
import { timeText } from "./text.ts";
import type { ClusterView } from "../wire/cluster-view.ts";

export interface TopOptions extends NodeOptions {
  /** Seconds between two readings. */
  readonly interval: number;
  /** Ends after so many; never if absent. */
  readonly count?: number;
}

/** A node that takes longer to say how busy it is is shown as one that does not answer. */
const answerMs = 10_000;
/** What a shell reports for a program that Ctrl-C ended. */
const interruptedExitCode = 130;
/** ECMA-48 and its common extensions: the other screen, the cursor, home, and erasing to the end of line and screen. */
const screenCodes = {
  enter: "\u001b[?1049h\u001b[?25l",
  leave: "\u001b[?25h\u001b[?1049l",
  home: "\u001b[H",
  eraseLine: "\u001b[K",
  eraseBelow: "\u001b[J",
} as const;

/**
 * Draws on the terminal's other screen, or prints a line (with `json` an object) for each reading where there is no terminal. Runs
 * until `count` readings or Ctrl-C. Throws `CommandFailure` as `askNode` does for the first reading; later a node that does not
 * answer is waited for.
 */
export async function top(options: TopOptions, output: Output): Promise<void> {
  const countMax = options.count ?? Number.POSITIVE_INFINITY;
  let before = await scrape(options);
  const watch = isInCluster(before) ? new ClusterWatch(options) : undefined;
  await watch?.look();
  const screen = output.isTerminal && options.json !== true ? new Screen() : undefined;
  try {
    for (let shown = 0; shown < countMax; ) {
      await new Promise((resolve) => setTimeout(resolve, options.interval * 1000));
      const now = await scrapeIfThere(options);
      if (typeof now === "string") {
        if (screen === undefined) output.note(now);
        else screen.draw([output.styled("bad", now)]);
        continue;
      }
      const nowMs = Date.now();
      const load = loadBetween(before, now, nowMs / 1000);
      const cluster = await watch?.look();
      before = now;
      shown++;
      if (screen !== undefined) screen.draw(await linesOf({ load, cluster }, options, output, nowMs));
      else if (options.json === true) output.result(JSON.stringify({ timeMs: nowMs, ...load, cluster }, nullForNone));
      else output.result(loadLine(load, timeText(nowMs)));
    }
  } finally {
    screen?.leave();
  }
}

/** So that every object has the same members. */
function nullForNone(_key: string, value: unknown): unknown {
  return value === undefined ? null : value;
}

function isInCluster({ samples }: Scrape): boolean {
  return samples.get("onefold_build_info")?.[0]?.labels.engine === "nats";
}

/** Looks at the whole cluster through one node. */
class ClusterWatch {
  readonly #node: NodeOptions;
  #before: { readonly view: ClusterView; readonly atMs: number } | undefined;

  constructor(node: NodeOptions) {
    this.#node = node;
  }

  /** The load since the last look; undefined the first time, and while the node can't tell. */
  async look(): Promise<ClusterLoad | undefined> {
    const before = this.#before;
    try {
      const view = await readNode<ClusterView>(this.#node, "/v1/cluster");
      const atMs = performance.now();
      this.#before = { view, atMs };
      return before && clusterLoadBetween(before.view, view, (atMs - before.atMs) / 1000);
    } catch (error) {
      if (!mayPass(error)) throw error;
      return undefined;
    }
  }
}

async function linesOf(
  { load, cluster }: { readonly load: Load; readonly cluster: ClusterLoad | undefined },
  options: TopOptions,
  output: Output,
  nowMs: number,
): Promise<readonly string[]> {
  const problems = load.isReady && load.problems === 0 ? [] : await problemsOf(options);
  const columns = output.columns ?? 80;
  const rows = process.stdout.rows || 24;
  return loadScreen(
    load,
    { url: options.url, time: timeText(nowMs).slice(0, 19), problems, cluster },
    { columns, rows },
    output,
  );
}

async function scrape(node: NodeOptions): Promise<Scrape> {
  const { body } = await askNode({ node, method: "GET", path: "/metrics", accepts: "text/plain", answerMs });
  const found = parseScrape(body, performance.now());
  if (found.samples.has("onefold_build_info")) return found;
  throw new CommandFailure(exitCodes.unreachable, `${node.url} answered, but not as a Onefold node does.`);
}

/** The failure's message where the node does not answer just now. */
async function scrapeIfThere(node: NodeOptions): Promise<Scrape | string> {
  try {
    return await scrape(node);
  } catch (error) {
    if (!mayPass(error)) throw error;
    return error.message;
  }
}

/** A node that does not answer just now may do so later. */
function mayPass(error: unknown): error is CommandFailure {
  const codes: readonly number[] = [exitCodes.unreachable, exitCodes.tryLater];
  return error instanceof CommandFailure && codes.includes(error.exitCode);
}

/** What `/readyz` names, whichever way it answers. */
async function problemsOf(node: NodeOptions): Promise<readonly string[]> {
  try {
    const { body } = await askNode({ node, method: "GET", path: "/readyz" });
    return problemsIn(JSON.parse(body));
  } catch (error) {
    if (!(error instanceof CommandFailure)) throw error;
    return [error.message, ...problemsIn(error.problem)];
  }
}

function problemsIn(body: unknown): readonly string[] {
  if (typeof body !== "object" || body === null) return [];
  const { problems } = body as { readonly problems?: unknown };
  return Array.isArray(problems) ? problems.map(String) : [];
}

/** The terminal's other screen, from its making until `leave` or the process's end. */
class Screen {
  readonly #interrupted: () => void;

  constructor() {
    process.stdout.write(screenCodes.enter);
    this.#interrupted = () => {
      this.leave();
      process.exit(interruptedExitCode);
    };
    process.once("SIGINT", this.#interrupted);
    process.once("SIGTERM", this.#interrupted);
  }

  draw(lines: readonly string[]): void {
    const { home, eraseLine, eraseBelow } = screenCodes;
    process.stdout.write(home + lines.map((line) => `${line}${eraseLine}\r\n`).join("") + eraseBelow);
  }

  leave(): void {
    process.off("SIGINT", this.#interrupted);
    process.off("SIGTERM", this.#interrupted);
    process.stdout.write(screenCodes.leave);
  }
}
