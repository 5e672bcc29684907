/** Every route of the gateway in one table: the router, `OPTIONS`, 405 and the front page are made from it. */
import { readBackup } from "./backup.ts";
import { readCluster, splitShard } from "./cluster-source.ts";
import { liftSuspect, readSuspects } from "./suspects.ts";
import type { OperationHandler } from "./operations.ts";
import {
  deleteEntity,
  listEntities,
  mintSession,
  readChanges,
  readDeadLetters,
  readHistory,
  readState,
  runCall,
  runCommand,
  runQuery,
  runTransaction,
} from "./operations.ts";
import { promoteSystem } from "./promotion.ts";
import { readMetrics, readOpenApi } from "./self-description.ts";
import { frontPage, liveness, readiness } from "./status.ts";

export interface Route {
  readonly method: "GET" | "POST" | "DELETE";
  /** `:name` is one percent-encoded part of the path. */
  readonly pattern: string;
  readonly handler: OperationHandler;
  /** True: answered without credentials, and however much is under way. */
  readonly open?: boolean;
  /** True: answered however much is under way, so that a full node can be looked at. */
  readonly urgent?: boolean;
}

export const routes: readonly Route[] = [
  { method: "POST", pattern: "/v1/entities/:kind/:id/:command", handler: runCommand },
  { method: "GET", pattern: "/v1/entities/:kind/:id/:query", handler: runQuery },
  { method: "GET", pattern: "/v1/entities/:kind/:id", handler: readState },
  { method: "DELETE", pattern: "/v1/entities/:kind/:id", handler: deleteEntity },
  { method: "GET", pattern: "/v1/entities/:kind", handler: listEntities },
  { method: "POST", pattern: "/v1/transactions/:name", handler: runTransaction },
  { method: "POST", pattern: "/v1/call", handler: runCall },
  { method: "POST", pattern: "/v1/sessions", handler: mintSession },
  { method: "GET", pattern: "/v1/history/:kind/:id", handler: readHistory },
  { method: "GET", pattern: "/v1/changes", handler: readChanges },
  { method: "GET", pattern: "/v1/dead-letters", handler: readDeadLetters },
  { method: "GET", pattern: "/v1/backup", handler: readBackup },
  { method: "POST", pattern: "/v1/promote", handler: promoteSystem },
  { method: "GET", pattern: "/v1/cluster", handler: readCluster, urgent: true },
  { method: "POST", pattern: "/v1/cluster/split", handler: splitShard },
  { method: "GET", pattern: "/v1/cluster/suspects", handler: readSuspects },
  { method: "POST", pattern: "/v1/cluster/lift", handler: liftSuspect },
  { method: "GET", pattern: "/openapi.json", handler: readOpenApi },
  { method: "GET", pattern: "/metrics", handler: readMetrics, urgent: true },
  { method: "GET", pattern: "/healthz", handler: liveness, open: true },
  { method: "GET", pattern: "/readyz", handler: readiness, open: true },
  { method: "GET", pattern: "/", handler: frontPage },
];

const matchers = routes.map(({ method, pattern }) => ({
  method,
  path: new RegExp(`^${pattern.replaceAll(/:[a-z]+/g, "[^/]*")}$`),
}));

/** The methods that a path (still percent-encoded, with or without a query) answers; empty if it is no route. */
export function methodsOfPath(url: string): readonly string[] {
  const path = url.split(/[?#]/, 1)[0]!;
  const methods = matchers.filter((matcher) => matcher.path.test(path)).map((matcher) => matcher.method);
  if (methods.length === 0) return [];
  return [...methods, ...(methods.includes("GET") ? ["HEAD"] : []), "OPTIONS"];
}
