/**
 * One hash over the headers of a backup's parts as they pass: SHA-256 over the hash so far and the next header, from 32 zero
 * bytes on. A chain, because it is made and checked in a stream without keeping the headers.
 */
import { sha256, sha256Bytes } from "../base/digest.ts";

export class PartsDigest {
  #hash: Uint8Array = new Uint8Array(sha256Bytes);

  add(header: Uint8Array): void {
    this.#hash = sha256(this.#hash, header);
  }

  value(): Uint8Array {
    return this.#hash;
  }
}
