/**
 * `onefold promote`: moves an embedded system to a cluster. A running node does it by itself, and this tells how it goes; of a stopped one
 * the data directory is moved from here.
 *
 * PC1 An answer that was cut says nothing of what became of the move: then the exit code is that of an unknown outcome.
 */
import { resolve } from "node:path";
import { limits } from "../base/limits.ts";
import { promoteDataDirectory } from "../runtime/stopped-promotion.ts";
import {
  type PromotionLine,
  type PromotionOptions,
  type PromotionProgress,
  type PromotionReport,
  promotionContentType,
} from "../wire/promotion.ts";
import { type EngineTargetOptions, targetOf } from "./cluster/engine-target.ts";
import { CommandFailure, exitCodeOfRetry, exitCodes } from "./exit-code.ts";
import { type NodeOptions, streamNode } from "./node-client.ts";
import type { Output } from "./output.ts";

export interface PromoteOptions extends NodeOptions, EngineTargetOptions {
  readonly data?: string;
  readonly shards: number;
  readonly followers: number;
  readonly unsafeDurability?: boolean;
}

/** Throws `CommandFailure`, `OnefoldError`. */
export async function promote(options: PromoteOptions, output: Output): Promise<void> {
  const asked = await optionsOf(options);
  const tell = (progress: PromotionProgress): void => {
    if (options.json === true) output.result(JSON.stringify({ progress }));
    else output.progress(progressText(progress));
  };
  const report =
    options.data === undefined
      ? await promoteNode(options, asked, tell)
      : await promoteDataDirectory({ dataDirectory: resolve(options.data), options: asked, onProgress: tell });
  output.progress("");
  const isEqual = report.clusterDigest === report.digest;
  output.result(options.json === true ? JSON.stringify({ report: { ...report, equal: isEqual } }) : reportText(report));
  if (report.clusterDigest === undefined || isEqual) return;
  const message =
    "The cluster's state is not the one that was moved. Stop the cluster's nodes, and look at the engine.";
  throw new CommandFailure(exitCodes.refused, message);
}

async function optionsOf(options: PromoteOptions): Promise<PromotionOptions> {
  return {
    target: await targetOf(options),
    shardCount: options.shards,
    followerCount: options.followers,
    allowsLaxEngine: options.unsafeDurability === true,
  };
}

async function promoteNode(
  node: NodeOptions,
  asked: PromotionOptions,
  tell: (progress: PromotionProgress) => void,
): Promise<PromotionReport> {
  const { body } = await streamNode({
    node,
    method: "POST",
    path: "/v1/promote",
    contentType: promotionContentType,
    body: JSON.stringify(asked),
    headers: [`Onefold-Deadline-Ms: ${limits.deadlineMsMax}`],
  });
  try {
    for await (const line of linesOf(body)) {
      if ("progress" in line) tell(line.progress);
      else if ("report" in line) return line.report;
      else throw failed(line.failure);
    }
  } catch (cause) {
    if (cause instanceof CommandFailure) throw cause;
    throw cut(cause);
  }
  throw cut(undefined);
}

async function* linesOf(body: AsyncIterable<Uint8Array>): AsyncIterable<PromotionLine> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of body) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop()!;
    for (const line of lines) yield JSON.parse(line) as PromotionLine;
  }
}

function failed(failure: Extract<PromotionLine, { readonly failure: unknown }>["failure"]): CommandFailure {
  const { code, retry, detail } = failure;
  const known = retry === "never" || retry === "safe" ? retry : "unknown";
  return new CommandFailure(exitCodeOfRetry(known), `${code}: ${detail}`, { problem: failure });
}

/** PC1. */
function cut(cause: unknown): CommandFailure {
  const message =
    "The node's answer was cut in the middle. Start the node again: it finds out what became of the move, and says so or serves on.";
  return new CommandFailure(exitCodes.outcomeUnknown, message, { cause });
}

const stepTexts: { readonly [step in PromotionProgress["step"]]: string } = {
  copying: "Copying the log",
  snapshot: "Copying the state",
  waiting: "Waiting for a node of the cluster: start some with --cluster --await-system",
  pausing: "Pausing",
  sealed: "The log is sealed",
  activated: "The cluster has the system; comparing",
};

function progressText({ step, sequence, endSequence }: PromotionProgress): string {
  return `${stepTexts[step]}: ${sequence} of ${endSequence}`;
}

function reportText(report: PromotionReport): string {
  const { cluster, sequence, firstSequence, digest, clusterDigest, pausedMs, nodes } = report;
  return [
    `Moved to the cluster ${cluster}, with the log from ${firstSequence} to ${sequence}. The pause took ${pausedMs} ms.`,
    `  state   ${digest}`,
    clusterDigest === digest
      ? "  equal   the cluster's first owner found the same"
      : `  cluster ${clusterDigest ?? "has not told what it found"}`,
    `  nodes   ${nodes.length === 0 ? "none with an address for clients" : nodes.join(", ")}`,
  ].join("\n");
}
