/**
 * Writes batches (`batch.ts`, which reads them): each part as it is, without the arrays and objects that a general encoder wants, for
 * this is done for every call. What is rare is packed in general.
 */
import { Packr } from "msgpackr";
import { MessagePackWriter } from "../base/message-pack.ts";
import {
  type EntityEffect,
  type Entry,
  type ItemEffect,
  type MessageRecord,
  origins,
  packDeadLetter,
  packTimer,
  preparedCodec,
  type ResultEffect,
} from "./batch.ts";
import { writeKept } from "./outcome.ts";
import { packTransactionPart } from "./transaction-parts.ts";

const packr = new Packr({ useRecords: false, useBigIntExtension: true, mapsAsObjects: true });
const writer = new MessagePackWriter(128 * 1024);

/** The payload of a batch record. A fresh byte string. */
export function encodeBatch(entries: readonly Entry[]): Uint8Array {
  writer.reset();
  writer.array(entries.length);
  for (let i = 0; i < entries.length; i++) writeEntry(entries[i]!);
  return writer.take();
}

/** How many parts of an entry are written: up to the last one that is there. The first three always are. */
function partCountOf(entry: Entry): number {
  if (entry.transaction !== null) return 11;
  if (entry.delivered.length > 0) return 10;
  if (entry.expired.length > 0) return 9;
  if (entry.result !== null) return 8;
  if (entry.deadLetter !== null) return 7;
  if (entry.consumed !== null) return 6;
  if (entry.messages.length > 0) return 5;
  return entry.effects.length > 0 ? 4 : 3;
}

function writeEntry(entry: Entry): void {
  const count = partCountOf(entry);
  writer.array(count);
  writer.number(origins.indexOf(entry.origin));
  writer.text(entry.command);
  writer.text(entry.subject);
  if (count > 3) writeList(entry.effects, writeEffect);
  if (count > 4) writeList(entry.messages, writeMessage);
  if (count > 5) {
    const { consumed } = entry;
    if (consumed === null) writer.nil();
    else writeNumbers(consumed.fromSlot, consumed.toSlot, consumed.number);
  }
  if (count > 6) {
    if (entry.deadLetter === null) writer.nil();
    else writer.raw(packr.pack(packDeadLetter(entry.deadLetter)));
  }
  if (count > 7) {
    if (entry.result === null) writer.nil();
    else writeResult(entry.result);
  }
  if (count > 8) {
    writeList(entry.expired, ({ expiresMs, key }) => {
      writer.array(2);
      writer.number(expiresMs);
      writer.text(key);
    });
  }
  if (count > 9) {
    writeList(entry.delivered, (run) => writeNumbers(run.fromSlot, run.toSlot, run.first, run.through));
  }
  if (count > 10) writer.raw(packr.pack(packTransactionPart(entry.transaction!, preparedCodec)));
}

/** Nil for none. */
function writeList<T>(list: readonly T[], write: (item: T) => void): void {
  if (list.length === 0) return writer.nil();
  writer.array(list.length);
  for (let i = 0; i < list.length; i++) write(list[i]!);
}

function writeNumbers(...numbers: readonly number[]): void {
  writer.array(numbers.length);
  for (const number of numbers) writer.number(number);
}

/** As `packEffect` says it. */
function writeEffect(effect: EntityEffect): void {
  const { state, items, timers } = effect;
  const hasTimers = timers.length > 0;
  writer.array(hasTimers ? 12 : items.length > 0 ? 11 : 10);
  writer.number(effect.slot);
  writer.text(effect.tenant);
  writer.text(effect.kind);
  writer.text(effect.id);
  writer.number(effect.generation);
  writer.number(effect.version);
  writer.number(effect.schemaVersion);
  writer.number(effect.previousSequence);
  writer.boolean(effect.isBirth);
  if (state === undefined) writer.boolean(false);
  else writeBytes(state);
  if (hasTimers || items.length > 0) writeList(items, writeItem);
  if (hasTimers) writer.raw(packr.pack(timers.map(packTimer)));
}

function writeItem({ collection, key, value }: ItemEffect): void {
  writer.array(3);
  writer.text(collection);
  writer.text(key);
  writeBytes(value);
}

function writeBytes(bytes: Uint8Array | null): void {
  if (bytes === null) writer.nil();
  else writer.binary(bytes);
}

function writeMessage(message: MessageRecord): void {
  writer.array(9);
  writer.number(message.fromSlot);
  writer.number(message.toSlot);
  writer.number(message.number);
  writer.text(message.tenant);
  writer.text(message.kind);
  writer.text(message.id);
  writer.text(message.command);
  writer.binary(message.input);
  writer.text(message.subject);
}

function writeResult({ key, outcome }: ResultEffect): void {
  const isOfSession = key.type === "session";
  writer.array(isOfSession ? 9 : 6);
  writer.number(isOfSession ? 0 : 1);
  writer.number(key.slot);
  writer.text(isOfSession ? key.session : key.digest);
  writer.number(key.expiresMs);
  writeKept(writer, outcome);
  if (isOfSession) {
    writer.number(key.number);
    writer.number(key.lowest);
    writer.number(key.place);
    writer.boolean(key.isBirth);
  } else writer.binary(key.fingerprint);
}
