/** What both entries of `onefold/client` export besides `connect`. */
export { type ErrorCode, OnefoldError, Refused, type Retry } from "../base/errors.ts";
export type { Value } from "../base/value.ts";
export type { CallOptions } from "./call.ts";
export type { ConnectOptions, ServerUrl } from "./connect.ts";
export type { Change, Position, WatchOptions } from "./subscription.ts";
export type {
  EntityState,
  HistoryEntry,
  HistoryPage,
  IdPage,
  ListOptions,
  PageOptions,
  RemoteClient,
  RemoteEntity,
  Watch,
} from "./types.ts";
