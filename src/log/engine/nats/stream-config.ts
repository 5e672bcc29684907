/**
 * How the engine's streams are configured, and what in a configuration would lose records (docs/engine-nats.md says what each setting is
 * for).
 */

import { regionTag } from "./names.ts";

/** As JetStream's interface has it; durations in nanoseconds. */
export interface StreamConfig {
  readonly name: string;
  readonly subjects?: readonly string[];
  readonly retention?: string;
  readonly storage?: string;
  readonly discard?: string;
  readonly num_replicas?: number;
  /** Servers that have all of these tags. */
  readonly placement?: { readonly tags?: readonly string[] };
  readonly max_msgs?: number;
  readonly max_bytes?: number;
  readonly max_age?: number;
  readonly max_msgs_per_subject?: number;
  readonly max_msg_size?: number;
  readonly max_consumers?: number;
  readonly duplicate_window?: number;
  readonly first_seq?: number;
  readonly deny_delete?: boolean;
  readonly deny_purge?: boolean;
  readonly allow_direct?: boolean;
  readonly persist_mode?: string;
  readonly sealed?: boolean;
  readonly mirror?: unknown;
  readonly sources?: readonly unknown[];
  readonly no_ack?: boolean;
}

export interface StreamState {
  readonly messages: number;
  readonly first_seq: number;
  readonly last_seq: number;
  readonly subjects?: Readonly<Record<string, number>>;
}

export interface StreamInfo {
  readonly config: StreamConfig;
  readonly state: StreamState;
  readonly cluster?: {
    readonly leader?: string;
    readonly raft_group?: string;
    readonly replicas?: readonly { readonly name: string }[];
  };
}

/** No message has an id to be known by; streams that are there have this, and it stays. */
const duplicateWindowNs = 30_000_000_000;

const keepsAll = {
  retention: "limits",
  storage: "file",
  max_msgs: -1,
  max_bytes: -1,
  max_age: 0,
  max_msg_size: -1,
  max_consumers: -1,
  // At a limit of the server or the account the new record is refused; the old ones stay.
  discard: "new",
  allow_direct: false,
} as const;

export function logConfig(options: {
  readonly name: string;
  readonly subject: string;
  readonly replicaCount: number;
  readonly firstSequence: number;
  /** On servers of this region alone. */
  readonly region?: string | undefined;
}): StreamConfig {
  const { name, subject, replicaCount, firstSequence, region } = options;
  return {
    ...keepsAll,
    ...placedIn(region),
    name,
    subjects: [subject],
    num_replicas: replicaCount,
    max_msgs_per_subject: -1,
    duplicate_window: duplicateWindowNs,
    first_seq: firstSequence,
    // Single records are never deleted; purging up to a sequence is how a log is trimmed.
    deny_delete: true,
    deny_purge: false,
  };
}

/** One message of each subject: what is put again replaces what was there, whole. */
export function blobConfig(options: {
  readonly name: string;
  readonly subjects: string;
  readonly replicaCount: number;
  readonly region?: string | undefined;
}): StreamConfig {
  const { name, subjects, replicaCount, region } = options;
  return {
    ...keepsAll,
    ...placedIn(region),
    name,
    subjects: [subjects],
    num_replicas: replicaCount,
    max_msgs_per_subject: 1,
  };
}

function placedIn(region: string | undefined): Pick<StreamConfig, "placement"> {
  return region === undefined ? {} : { placement: { tags: [regionTag(region)] } };
}

/** What in a stream's configuration may lose what it acknowledged, or lets others change it; sentences for an operator. */
export function configLaxities(config: StreamConfig, options: { readonly isLog: boolean }): readonly string[] {
  const { name, max_msgs = -1, max_bytes = -1, max_age = 0, max_msgs_per_subject = -1, num_replicas = 1 } = config;
  const laxities: string[] = [];
  const say = (isLax: boolean, what: string): void => {
    if (isLax) laxities.push(`The stream ${name} ${what}.`);
  };
  say(num_replicas < 3, `is on ${num_replicas} server${num_replicas === 1 ? "" : "s"}; fewer than 3 are no majority's`);
  say(config.storage !== "file", "is in memory only");
  say(config.retention !== "limits", `forgets what was consumed (retention: ${config.retention})`);
  say(max_age > 0, "forgets what is older than max_age");
  say(config.discard !== "new" && (max_msgs > 0 || max_bytes > 0), "discards old messages at its limit");
  say(options.isLog && max_msgs_per_subject > 0, "keeps only the newest messages of a subject");
  say(options.isLog && config.deny_delete !== true, "lets single records be deleted (deny_delete)");
  say(
    config.persist_mode !== undefined && config.persist_mode !== "default",
    "acknowledges before it writes (persist_mode)",
  );
  say(config.no_ack === true, "acknowledges nothing (no_ack)");
  say(config.mirror !== undefined || (config.sources ?? []).length > 0, "takes messages from other streams");
  return laxities;
}
