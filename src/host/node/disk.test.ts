import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, describe, test } from "node:test";
import { encodeUtf8 } from "../../base/bytes.ts";
import { diskSuite } from "../disk.suite.ts";
import { DiskError } from "../host.ts";
import { NodeDisk } from "./disk.ts";

const temporary = mkdtempSync(path.join(tmpdir(), "onefold-disk-"));
after(() => rmSync(temporary, { recursive: true, force: true }));
let directoryCount = 0;
const newDirectory = () => path.join(temporary, `nested/${++directoryCount}`);

diskSuite("node", async () => {
  const root = newDirectory();
  return {
    disk: new NodeDisk(root),
    rival: new NodeDisk(root),
    run: (body) => body(),
    close: async () => rmSync(root, { recursive: true }),
  };
});

const hasDescriptors = existsSync("/proc/self/fd");
const openDescriptors = () => readdirSync("/proc/self/fd").length;

describe("the real disk", () => {
  test("leaves no descriptor open, also after refusals", { skip: !hasDescriptors }, async () => {
    const disk = new NodeDisk(newDirectory());
    const before = openDescriptors();
    const file = await disk.open("f", { create: "new" });
    await file.writeDurable(0, encodeUtf8("x"));
    await file.close();
    const lock = await disk.lock("LOCK");
    await assert.rejects(disk.lock("LOCK"), { code: "busy" });
    await lock.release();
    await disk.syncDirectory("");
    await assert.rejects(disk.open("absent"), { code: "not-found" });
    assert.equal(openDescriptors(), before);
  });

  test("writes durably to the file that was opened, although its name is another's or nobody's by now", async () => {
    const root = newDirectory();
    const disk = new NodeDisk(root);
    const file = await disk.open("temporary", { create: "new" });
    await disk.rename("temporary", "final");
    const decoy = await disk.open("temporary", { create: "new" });
    await file.writeDurable(0, encodeUtf8("mine"));
    assert.equal(readFileSync(path.join(root, "final"), "utf8"), "mine");
    assert.equal(await decoy.size(), 0);
    await disk.remove("final");
    await file.writeDurable(4, encodeUtf8(" still"));
    assert.equal(Buffer.from(await file.read(0, 100)).toString(), "mine still");
    await file.close();
    await decoy.close();
  });

  test("names the process that holds a lock, and the lock ends with that process, killed or not", async () => {
    const root = newDirectory();
    const disk = new NodeDisk(root);
    const program = `
      import { NodeDisk } from ${JSON.stringify(new URL("./disk.ts", import.meta.url).href)};
      await new NodeDisk(${JSON.stringify(root)}).lock("LOCK");
      console.log("locked");
      setInterval(() => undefined, 1000);`;
    const child = spawn(process.execPath, ["--import", "tsx", "--input-type=module", "--eval", program], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    try {
      await once(child.stdout, "data");
      await assert.rejects(disk.lock("LOCK"), (error) => {
        assert(error instanceof DiskError && error.code === "busy");
        assert.match(error.message, new RegExp(`locked by process ${child.pid}$`));
        return true;
      });
    } finally {
      const exited = once(child, "exit");
      child.kill("SIGKILL");
      await exited;
    }
    const lock = await disk.lock("LOCK");
    assert.equal(readFileSync(path.join(root, "LOCK"), "utf8"), `${process.pid}\n`);
    await lock.release();
  });

  test("refuses a root that can't be a directory", async () => {
    const root = newDirectory();
    const disk = new NodeDisk(root);
    await (await disk.open("file", { create: "new" })).close();
    assert.throws(() => new NodeDisk(path.join(root, "file")), { name: "DiskError" });
    await assert.rejects(disk.open("file/below", { create: "always" }), { name: "DiskError", code: "failed" });
    await assert.rejects(disk.syncDirectory("absent"), { name: "DiskError", code: "not-found" });
  });

  test("says that a full device is full", { skip: !existsSync("/dev/full") }, async () => {
    const root = newDirectory();
    const disk = new NodeDisk(root);
    symlinkSync("/dev/full", path.join(root, "full"));
    const file = await disk.open("full");
    for (const write of [file.write(0, encodeUtf8("x")), file.writeDurable(0, encodeUtf8("x"))]) {
      await assert.rejects(write, (error) => error instanceof DiskError && error.code === "full");
    }
    await file.close();
  });
});
