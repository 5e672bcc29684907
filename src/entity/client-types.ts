/**
 * How a client sees a system: one method for every entity kind and transaction, one for every command and query of an
 * entity, each typed by its definition. Types only; the clients give them life.
 */
import type { System } from "./define-system.ts";
import type { Call, CallMethods, EntityTypes, InputArguments, TransactionTypes, TypesOf } from "./definition-types.ts";

/** One entity's commands and queries. Use it as it is (`entity.deposit(...)`): its methods don't work detached from it. */
export type EntityClient<T extends EntityTypes> = CallMethods<T["commands"] & T["queries"]>;

type PartClient<T> = T extends EntityTypes
  ? (id: string) => EntityClient<T>
  : T extends TransactionTypes
    ? T extends Call<infer Input, infer Output>
      ? (...input: InputArguments<Input>) => Promise<Output>
      : never
    : never;

/** `client.account("alice").deposit({ cents: 5 })`, `client.transfer({ ... })` of the system `S`. */
export type Client<S> =
  S extends System<infer Parts> ? { readonly [Name in keyof Parts]: PartClient<TypesOf<Parts[Name]>> } : never;
