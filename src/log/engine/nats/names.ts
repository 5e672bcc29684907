/**
 * What the engine's streams and subjects are called. A name of ours becomes one token, and no two of ours the same one.
 *
 * `cluster` is the name of the whole: several clusters may share an account.
 */
import { assert } from "../../../base/assert.ts";
import { encodeUtf8 } from "../../../base/bytes.ts";

/** Letters, digits and hyphens stay; any other byte becomes `_` and its two hexadecimal digits. */
export function token(name: string): string {
  assert(name !== "", "what is named has a name");
  let text = "";
  for (const byte of encodeUtf8(name)) {
    const character = String.fromCharCode(byte);
    text += /[A-Za-z0-9-]/.test(character) ? character : `_${byte.toString(16).padStart(2, "0")}`;
  }
  return text;
}

export function assertClusterName(cluster: string): void {
  // Without a hyphen, so that no two names of streams can be read in two ways.
  assert(/^[a-z0-9]{1,32}$/.test(cluster), "a cluster's name is of a-z and 0-9, at most 32");
}

export function logStream(cluster: string, log: string): string {
  return `${cluster}-log-${token(log)}`;
}

export function logSubject(cluster: string, log: string): string {
  return `${cluster}.log.${token(log)}`;
}

/** One for what may be anywhere, and one for each region. */
export function blobStream(cluster: string, region?: string): string {
  return region === undefined ? `${cluster}-blobs` : `${cluster}-blobs-${token(region)}`;
}

export function blobSubject(cluster: string, ...tokens: readonly string[]): string {
  return [cluster, "blob", ...tokens].join(".");
}

/** Of what is kept for a region. */
export function regionBlobSubject(cluster: string, region: string, ...tokens: readonly string[]): string {
  return [cluster, `blob-${token(region)}`, ...tokens].join(".");
}

/** The tag of the engine's servers that are in the region. */
export function regionTag(region: string): string {
  return `region:${region}`;
}
