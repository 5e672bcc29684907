/** Telling a disk that refuses from everything else that can go wrong. */
import { OnefoldError } from "../base/errors.ts";
import { DiskError } from "../host/host.ts";

/** A log that has stopped says so itself, with the disk's own refusal as its cause. */
export function isDiskRefusal(error: unknown): boolean {
  return error instanceof DiskError || (error instanceof OnefoldError && error.code === "stopped");
}
