/** Versions of nats-server, as far as they decide whether it keeps what it acknowledges. */

/**
 * The oldest that counts as safe. It has the repairs of 2026: compaction that syncs (#8475), committing of previous terms (#7955), votes that
 * are remembered (#7698, #7956), no votes after failed writes (#8290).
 */
export const versionMin = "2.15.1";

/** The version in what `nats-server --version` prints, or in a name like `2.15.1`. Undefined where there is none. */
export function parseServerVersion(text: string): string | undefined {
  return /(?:^|[^\d.])(\d{1,5}\.\d{1,5}\.\d{1,5})/.exec(text)?.[1];
}

/** Of versions as `parseServerVersion` gives them. What follows a hyphen, as of a pre-release, is not looked at. */
export function isVersionAtLeast(version: string, min: string): boolean {
  const parts = version.split(".").map(Number);
  const minParts = min.split(".").map(Number);
  for (let index = 0; index < 3; index++) {
    const difference = (parts[index] ?? 0) - (minParts[index] ?? 0);
    if (difference !== 0) return difference > 0;
  }
  return true;
}
