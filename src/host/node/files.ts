/**
 * Node's file functions as promises of exactly what the disk needs, with the platform's errors translated once, by code.
 * The callback functions of `node:fs` are used because `node:fs/promises` costs more per operation.
 */
import fs from "node:fs";
import { DiskError, type DiskErrorCode } from "../host.ts";

const codes: Readonly<Record<string, DiskErrorCode>> = {
  ENOENT: "not-found",
  EEXIST: "exists",
  ENOSPC: "full",
  EDQUOT: "full",
  EFBIG: "full",
};

/** The disk's word for a platform's error. Anything that nobody could react to is `failed`. */
export function translate(what: string, error: unknown): DiskError {
  const code = platformCode(error);
  const reason = error instanceof Error ? error.message : String(error);
  return new DiskError(codes[code] ?? "failed", `${what}: ${reason}`, { cause: error });
}

/** `ENOENT` and the like; empty for an error that is none of the platform's. */
export function platformCode(error: unknown): string {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : "";
}

type Callback<T> = (error: NodeJS.ErrnoException | null, result: T) => void;

/** Runs one of `node:fs`'s functions; rejects with a translated error that begins with `what`. */
export function perform<T>(what: string, start: (done: Callback<T>) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    start((error, result) => {
      if (error === null || error === undefined) resolve(result);
      else reject(translate(what, error));
    });
  });
}

/** Reads until `length` bytes are there or the file ends. */
export async function readAll(what: string, descriptor: number, position: number, length: number): Promise<Uint8Array> {
  const bytes = Buffer.allocUnsafeSlow(length);
  let count = 0;
  while (count < length) {
    const read = await perform<number>(what, (done) =>
      fs.read(descriptor, bytes, count, length - count, position + count, done),
    );
    if (read === 0) break;
    count += read;
  }
  return bytes.subarray(0, count);
}

/** Writes all of `bytes`, continuing after short writes. */
export async function writeAll(what: string, descriptor: number, position: number, bytes: Uint8Array): Promise<void> {
  let count = 0;
  while (count < bytes.length) {
    const written = await perform<number>(what, (done) =>
      fs.write(descriptor, bytes, count, bytes.length - count, position + count, done),
    );
    if (written === 0) throw new DiskError("failed", `${what}: the platform wrote nothing and named no reason`);
    count += written;
  }
}
