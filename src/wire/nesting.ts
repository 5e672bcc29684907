/**
 * How deep values may be nested. Shared by both halves of the codec.
 */

/** Levels of a value, as `docs/protocol.md` says. */
export const valueDepthMax = 64;

/** Levels that a message may put around a value: an answer's `items`, one of them, and its `state`; a failure's `details`. */
export const envelopeDepth = 3;
