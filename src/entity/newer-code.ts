/** After a rollback of the code: entities that newer code has written, and which the running code must leave alone (G11). */
import type { LiveEntity } from "./working-set.ts";

/**
 * Whether the entity's state is of a version that the running code does not know, so that its commands and queries are
 * refused as `unsupported-version`. What is on its way to it waits for the newer code.
 */
export function isOfNewerCode({ state, schemaVersion, definition }: LiveEntity): boolean {
  return state !== null && schemaVersion > definition.schemaVersion;
}
