/** The public face of Onefold: what a system is written with. Everything else may change without notice. */
export { type ErrorCode, OnefoldError, Refused, type Retry } from "./base/errors.ts";
export type { Value } from "./base/value.ts";
export type { Client, EntityClient } from "./entity/client-types.ts";
export { type Entity, type EntityStart, entity } from "./entity/define.ts";
export {
  type System,
  system,
  type Transaction,
  type TransactionBody,
  type TransactionStart,
  transaction,
} from "./entity/define-system.ts";
export type {
  Collection,
  Operation,
  ReadonlyCollection,
  RequestFacts,
  SystemOptions,
} from "./entity/definition.ts";
export type {
  CallDocumentation,
  EntityCaller,
  EntityCommandContext,
  EntityQueryContext,
  EntityReference,
} from "./entity/definition-types.ts";
export type { Principal } from "./entity/service.ts";
