import assert from "node:assert/strict";
import { mkdir, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";
import { SourceWatcher } from "./source-watcher.ts";

describe("watching sources", () => {
  let folder = "";
  let watcher: SourceWatcher | undefined;
  let changes: string[] = [];
  let wake: (() => void) | undefined;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "onefold-watch-"));
    changes = [];
    for (const path of ["lib", "node_modules/package", ".onefold", "state"]) {
      await mkdir(join(folder, path), { recursive: true });
    }
    await writeFile(join(folder, "index.ts"), "1");
    await writeFile(join(folder, "lib", "money.ts"), "1");
    watcher = await SourceWatcher.start({
      folder,
      ignored: [join(folder, "state")],
      onChange: (paths) => {
        changes.push(...paths.map((path) => path.slice(folder.length + 1)));
        wake?.();
      },
      onProblem: (message) => assert.fail(message),
      quietMs: 10,
    });
  });
  afterEach(async () => {
    watcher?.close();
    await rm(folder, { recursive: true });
  });

  /** Bounded by the runner's own time-out. */
  const until = async (path: string): Promise<void> => {
    while (!changes.includes(path)) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  };

  test("reports a changed, an added, a replaced and a removed file", { timeout: 10_000 }, async () => {
    await writeFile(join(folder, "index.ts"), "22");
    await until("index.ts");
    await writeFile(join(folder, "new.ts"), "1");
    await until("new.ts");
    await writeFile(join(folder, "lib", "money.ts.tmp"), "333");
    await rename(join(folder, "lib", "money.ts.tmp"), join(folder, "lib", "money.ts"));
    await until(join("lib", "money.ts"));
    changes = [];
    await rm(join(folder, "new.ts"));
    await until("new.ts");
  });

  test("enters folders that are made later", { timeout: 10_000 }, async () => {
    await mkdir(join(folder, "later", "deep"), { recursive: true });
    await writeFile(join(folder, "later", "deep", "a.ts"), "1");
    await until(join("later", "deep", "a.ts"));
    await writeFile(join(folder, "later", "deep", "b.ts"), "1");
    await until(join("later", "deep", "b.ts"));
  });

  test("does not report what is no source, nor what is in folders that hold none", { timeout: 10_000 }, async () => {
    for (const path of ["notes.md", "node_modules/package/a.ts", ".onefold/a.ts", "state/a.ts"]) {
      await writeFile(join(folder, path), "2");
    }
    await writeFile(join(folder, "index.ts"), "333");
    await until("index.ts");
    assert.deepEqual(new Set(changes), new Set(["index.ts"]));
  });
});
