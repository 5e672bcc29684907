/** Arbitrary entries of batches, with every part that one may have, for properties of the codec and of the fold. */
import fc from "fast-check";
import type {
  EntityEffect,
  Entry,
  ItemEffect,
  MessageRecord,
  ResultEffect,
  TimerEffect,
  TimerRecord,
} from "./batch.ts";
import { entityName, keys } from "./keys.ts";
import { type PreparedPart, type TransactionId, type TransactionPart, transactionId } from "./transaction-parts.ts";

const bytes = (maxLength = 40) => fc.uint8Array({ maxLength });
const slot = fc.integer({ min: 0, max: 4095 });
const name = fc.constantFrom("note", "account", "x", "a-much_longer-name");
const text = fc
  .oneof(
    fc.string({ minLength: 1, maxLength: 6 }),
    fc.constantFrom("é", "日本", "\u{1F600}", "\uffff", "a".repeat(600)),
  )
  .filter((candidate) => !candidate.includes("\0"));
const whole = fc.oneof(fc.nat(300), fc.maxSafeNat(), fc.constantFrom(2 ** 32, 2 ** 53 - 1));
const subject = fc.constantFrom("tester", "", "ünïcode");
const binaryText = (length: number) =>
  fc.uint8Array({ minLength: length, maxLength: length }).map((found) => Buffer.from(found).toString("latin1"));

const item: fc.Arbitrary<ItemEffect> = fc.record({
  collection: name,
  key: text,
  value: fc.option(bytes(), { nil: null }),
});
const timerRecord: fc.Arbitrary<TimerRecord> = fc.record({ dueMs: whole, command: name, input: bytes(), subject });
const timer: fc.Arbitrary<TimerEffect> = fc.record({
  key: text,
  timer: fc.option(timerRecord, { nil: null }),
  previousDueMs: fc.option(whole, { nil: null }),
});
export const effectArbitrary: fc.Arbitrary<EntityEffect> = fc
  .record({
    slot,
    tenant: name,
    kind: name,
    id: text,
    generation: fc.integer({ min: 1, max: 2 ** 32 - 1 }),
    version: whole,
    isBirth: fc.boolean(),
    schemaVersion: fc.integer({ min: 1, max: 300 }),
    previousSequence: whole,
    state: fc.oneof(bytes(200), fc.constant(null), fc.constant(undefined)),
    items: fc.array(item, { maxLength: 3 }),
    timers: fc.array(timer, { maxLength: 3 }),
  })
  .map((effect) => ({ ...effect, name: entityName(effect.tenant, effect.kind, effect.id) }));

const message: fc.Arbitrary<MessageRecord> = fc.record({
  fromSlot: slot,
  toSlot: slot,
  number: whole,
  tenant: name,
  kind: name,
  id: text,
  command: name,
  input: bytes(),
  subject,
});

const result: fc.Arbitrary<ResultEffect> = fc.record({
  key: fc.oneof(
    fc.record({
      type: fc.constant("session" as const),
      slot,
      session: binaryText(16),
      expiresMs: whole,
      number: whole,
      lowest: whole,
      place: fc.nat({ max: 65_535 }),
      isBirth: fc.boolean(),
    }),
    fc.record({
      type: fc.constant("idempotency" as const),
      slot,
      digest: binaryText(32),
      expiresMs: whole,
      fingerprint: fc.uint8Array({ minLength: 32, maxLength: 32 }),
    }),
  ),
  outcome: bytes(),
});

const expired = fc.record({
  expiresMs: whole,
  key: fc.tuple(slot, binaryText(32)).map(([at, digest]) => keys.idempotency(at, digest)),
});

const delivered = fc
  .record({ fromSlot: slot, toSlot: slot, first: fc.nat(1e9), count: fc.integer({ min: 1, max: 5 }) })
  .map(({ count, ...run }) => ({ ...run, through: run.first + count - 1 }));
const transactionIdArbitrary: fc.Arbitrary<TransactionId> = fc
  .record({ homeSlot: slot, homeEpoch: whole, random: binaryText(16) })
  .map(transactionId);

export const preparedArbitrary: fc.Arbitrary<PreparedPart> = fc.record({
  type: fc.constant("prepared" as const),
  id: transactionIdArbitrary,
  slot,
  epoch: whole,
  grant: whole,
  age: fc.record({ timeMs: whole, count: whole, owner: binaryText(8) }),
  effects: fc.array(effectArbitrary, { maxLength: 3 }),
  messages: fc.array(
    message.map(({ number: _number, ...rest }) => rest),
    { maxLength: 2 },
  ),
  locks: fc.array(
    fc.record({ tenant: name, kind: name, id: text, mode: fc.constantFrom("shared" as const, "exclusive" as const) }),
    { maxLength: 3 },
  ),
});

/** Of every type, with every part that one may have. */
export const transactionPartArbitrary: fc.Arbitrary<TransactionPart> = fc.oneof(
  preparedArbitrary,
  fc.record({
    type: fc.constant("decision" as const),
    id: transactionIdArbitrary,
    participants: fc.array(fc.record({ slot, epoch: whole }), { maxLength: 4 }),
  }),
  fc.record({ type: fc.constant("outcome" as const), id: transactionIdArbitrary, slot, isCommit: fc.boolean() }),
  fc.record({ type: fc.constant("forgotten" as const), ids: fc.array(transactionIdArbitrary, { maxLength: 4 }) }),
);

export const entryArbitrary: fc.Arbitrary<Entry> = fc.record({
  origin: fc.constantFrom(
    "call" as const,
    "transaction" as const,
    "message" as const,
    "timer" as const,
    "admin" as const,
  ),
  command: name,
  subject,
  effects: fc.array(effectArbitrary, { maxLength: 3 }),
  messages: fc.array(message, { maxLength: 3 }),
  consumed: fc.option(fc.record({ fromSlot: slot, toSlot: slot, number: whole }), { nil: null }),
  deadLetter: fc.option(
    fc.record({
      slot,
      tenant: name,
      kind: name,
      id: text,
      command: name,
      input: bytes(),
      code: name,
      detail: fc.constantFrom("", "why", "日".repeat(1000)),
      atMs: whole,
      waits: fc.boolean(),
    }),
    { nil: null },
  ),
  result: fc.option(result, { nil: null }),
  expired: fc.array(expired, { maxLength: 3 }),
  delivered: fc.array(delivered, { maxLength: 3 }),
  transaction: fc.option(transactionPartArbitrary, { nil: null }),
});

/** An entry in which nothing is but what `parts` says. */
export function entryOf(parts: Partial<Entry>): Entry {
  return {
    origin: "call",
    command: "write",
    subject: "tester",
    effects: [],
    messages: [],
    consumed: null,
    deadLetter: null,
    result: null,
    expired: [],
    delivered: [],
    transaction: null,
    ...parts,
  };
}

/** What a transaction is going to do at slot 9, which is nothing but to hold a read lock. */
export const preparedPart: PreparedPart = {
  type: "prepared",
  id: transactionId({ homeSlot: 7, homeEpoch: 3, random: "\u00ff".repeat(16) }),
  slot: 9,
  epoch: 4,
  grant: 2,
  age: { timeMs: 1000, count: 5, owner: "\u0080".repeat(8) },
  effects: [],
  messages: [],
  locks: [{ tenant: "default", kind: "note", id: "a", mode: "shared" }],
};

/** An effect on the entity `note` of this id in the default tenant. */
export function effectOn(id: string, parts: Partial<EntityEffect>): EntityEffect {
  return {
    slot: 7,
    tenant: "default",
    kind: "note",
    id,
    name: entityName("default", "note", id),
    generation: 1,
    version: 1,
    isBirth: false,
    schemaVersion: 1,
    previousSequence: 0,
    state: new Uint8Array([1]),
    items: [],
    timers: [],
    ...parts,
  };
}
