/** The move of an embedded system to a cluster as `POST /v1/promote` takes it and tells of it: plain data, specified in `docs/http.md`. */

/** How a node signs in to an engine. */
export type EngineLogin =
  | { readonly user: string; readonly pass: string }
  | { readonly token: string }
  /** The content of a credentials file (JWT and NKey), in base64. */
  | { readonly credentials: string };

export interface PromotionTarget {
  /** The engine's servers: `nats://host:port`, with commas between. */
  readonly to: string;
  /** Begins the names of what the cluster keeps there; by default made of the system's name. */
  readonly engineName?: string;
  /** On how many servers each log is; 3 by default. */
  readonly replicaCount?: 1 | 3 | 5;
  readonly account?: EngineLogin;
  readonly system?: EngineLogin;
  /** Files on the node's machine. */
  readonly tls?: { readonly caFile: string; readonly certFile: string; readonly keyFile: string };
}

export interface PromotionOptions {
  readonly target: PromotionTarget;
  /** Of the cluster, once it has been split. A power of two. */
  readonly shardCount: number;
  readonly followerCount: number;
  /** Moves although the engine may lose what it acknowledges. */
  readonly allowsLaxEngine: boolean;
}

export interface PromotionProgress {
  readonly step: "copying" | "snapshot" | "waiting" | "pausing" | "sealed" | "activated";
  /** Copied so far, of the log as it is now. */
  readonly sequence: number;
  readonly endSequence: number;
}

export interface PromotionReport {
  readonly cluster: string;
  readonly attempt: string;
  /** The seal's: where the embedded log ends. */
  readonly sequence: number;
  readonly hash: string;
  /** Of the copy in the engine. */
  readonly firstSequence: number;
  /** Of the state at the seal, as the embedded node has it. */
  readonly digest: string;
  /** The same of the cluster's first owner's store, before it changed anything; absent where that was not told in time. */
  readonly clusterDigest?: string;
  readonly pausedMs: number;
  /** Where clients reach the cluster's nodes. */
  readonly nodes: readonly string[];
}

/** One line of the answer; the last one has `report` or `failure`. */
export type PromotionLine =
  | { readonly progress: PromotionProgress }
  | { readonly report: PromotionReport }
  | {
      readonly failure: {
        readonly code: string;
        readonly retry: string;
        readonly detail: string;
        readonly details?: unknown;
      };
    };

export const promotionContentType = "application/x-ndjson";
