/** Paths of a `Disk`: relative to its root, with `/`, never leading out of it. Shared by every disk. */
import { assert } from "../base/assert.ts";

/**
 * Checks a path and splits it into its names; the root is `""` and has none. Paths are made by this program, so a bad one
 * is a bug: throws `AssertionFailure`.
 */
export function splitPath(path: string): readonly string[] {
  if (path === "") return [];
  const names = path.split("/");
  for (const name of names) {
    const isName = name !== "" && name !== "." && name !== "..";
    assert(isName && !/[\0\\:]/.test(name), `not a path below the disk's root: ${JSON.stringify(path)}`);
  }
  return names;
}
