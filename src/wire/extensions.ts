/** The two MessagePack extension types that values need, as `docs/protocol.md` says. */
export const extensions = {
  /** MessagePack's own timestamp: a `Date`. */
  timestamp: -1,
  /** A bigint, of whatever size: two's complement, most significant byte first. The same type as in storage. */
  bigint: 0x42,
  bigintBitsMax: 65_536,
} as const;
