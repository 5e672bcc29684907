/**
 * The names of a simulated disk, twice: as programs see them, and as they stand on the platter.
 *
 * N1  A creation, removal or rename is durable once every directory that it changes has been synced after it; a new
 *     directory's own name, once its parent has.
 * N2  At a crash each other change is there or not. A rename is there as a whole or not at all; a change of a name that an
 *     earlier lost change concerns is lost with it.
 */
import { compareUtf8 } from "../base/bytes.ts";
import type { SeededRandom } from "../base/random.ts";
import { DiskError } from "../host/host.ts";
import { splitPath } from "../host/path.ts";
import { Inode } from "./inode.ts";

type Node = Inode | Directory;

class Directory {
  current = new Map<string, Node>();
  durable = new Map<string, Node>();
}

interface Entry {
  readonly directory: Directory;
  readonly name: string;
}

/** `to` without `from` is a creation, `from` without `to` a removal, both are a rename. */
interface Change {
  readonly node: Node;
  readonly from?: Entry;
  readonly to?: Entry;
  readonly unsynced: Set<Directory>;
}

export class DirectoryTree {
  #root = new Directory();
  #changes: Change[] = [];

  /** The file at a path; undefined where nothing is. Throws `failed` for a directory. */
  file(path: string): Inode | undefined {
    const node = this.#node(path);
    if (node instanceof Directory) throw new DiskError("failed", `${path} is a directory`);
    return node;
  }

  #node(path: string): Node | undefined {
    let node: Node | undefined = this.#root;
    for (const name of splitPath(path)) node = node instanceof Directory ? node.current.get(name) : undefined;
    return node;
  }

  #entry(path: string): Entry {
    const names = splitPath(path);
    const directory = this.#node(names.slice(0, -1).join("/"));
    if (names.length === 0) throw new DiskError("failed", "the root cannot be created, renamed or removed");
    if (!(directory instanceof Directory)) throw new DiskError("not-found", `${path}: its directory does not exist`);
    return { directory, name: names.at(-1)! };
  }

  /** Names in a directory, sorted by bytes; none where there is no such directory. */
  list(path: string): readonly string[] {
    const node = this.#node(path);
    if (node instanceof Inode) throw new DiskError("failed", `${path} is not a directory`);
    return node === undefined ? [] : [...node.current.keys()].sort(compareUtf8);
  }

  create(path: string): Inode {
    const entry = this.#entry(path);
    const inode = new Inode();
    this.#change({ node: inode, to: entry });
    return inode;
  }

  /** With its parents, where they are absent. */
  makeDirectory(path: string): void {
    const names = splitPath(path);
    for (let depth = 1; depth <= names.length; depth++) {
      const prefix = names.slice(0, depth).join("/");
      const node = this.#node(prefix);
      if (node instanceof Inode) throw new DiskError("exists", `${prefix} is a file`);
      if (node === undefined) this.#change({ node: new Directory(), to: this.#entry(prefix) });
    }
  }

  /** Absent is fine; a directory must be empty. */
  remove(path: string): void {
    const node = this.#node(path);
    if (node === undefined) return;
    if (node instanceof Directory && node.current.size > 0) throw new DiskError("failed", `${path} is not empty`);
    this.#change({ node, from: this.#entry(path) });
  }

  rename(from: string, to: string): void {
    const node = this.#node(from);
    if (node === undefined) throw new DiskError("not-found", `${from} does not exist`);
    const target = this.#node(to);
    if (target instanceof Directory && target !== node) throw new DiskError("failed", `${to} is a directory`);
    if (target !== node) this.#change({ node, from: this.#entry(from), to: this.#entry(to) });
  }

  #change(change: Omit<Change, "unsynced">): void {
    change.from?.directory.current.delete(change.from.name);
    change.to?.directory.current.set(change.to.name, change.node);
    const directories = [change.from?.directory, change.to?.directory];
    this.#changes.push({ ...change, unsynced: new Set(directories.filter((each) => each !== undefined)) });
  }

  /** Begins to sync a directory; the result, called later, completes it for the changes that stand now (N1). */
  beginSync(path: string): () => void {
    const directory = this.#node(path);
    if (!(directory instanceof Directory)) throw new DiskError("not-found", `${path} is not a directory`);
    const covered = this.#changes.filter((change) => change.unsynced.has(directory));
    return () => {
      for (const change of covered) {
        // Another sync of this directory, begun later, may have been quicker.
        if (!change.unsynced.delete(directory)) continue;
        if (change.unsynced.size === 0) makeDurable(change);
      }
      this.#changes = this.#changes.filter((change) => change.unsynced.size > 0);
    };
  }

  /** The power fails (N2). Returns how many changes were lost. */
  crash(random: SeededRandom): number {
    const survival = random.pick([0, 0.5, 1]);
    const lostNames = new Map<Directory, Set<string>>();
    let lostCount = 0;
    for (const change of this.#changes) {
      const entries = [change.from, change.to].filter((entry) => entry !== undefined);
      const isBlocked = entries.some((entry) => lostNames.get(entry.directory)?.has(entry.name));
      if (!isBlocked && random.chance(survival)) {
        makeDurable(change);
        continue;
      }
      lostCount++;
      for (const { directory, name } of entries) {
        const names = lostNames.get(directory) ?? new Set();
        lostNames.set(directory, names.add(name));
      }
    }
    this.#changes = [];
    for (const directory of directoriesIn(this.#root, "durable")) directory.current = new Map(directory.durable);
    return lostCount;
  }

  /** All files that have a name, with their paths, sorted by names. */
  files(): (readonly [path: string, inode: Inode])[] {
    return filesIn(this.#root, "");
  }

  /** The same files, in no order that means anything, yet always the same one. */
  inodes(): Inode[] {
    return directoriesIn(this.#root, "current").flatMap((directory) =>
      [...directory.current.values()].filter((node) => node instanceof Inode),
    );
  }

  /** Damage: the file loses its name, in the cache and on the platter. */
  lose(path: string): void {
    const { directory, name } = this.#entry(path);
    directory.current.delete(name);
    directory.durable.delete(name);
    this.#changes = this.#changes.filter((change) => change.to?.directory !== directory || change.to.name !== name);
  }

  /** A tree with the names and the content that this one shows now, all of it durable. */
  clone(): DirectoryTree {
    const clone = new DirectoryTree();
    clone.#root = cloneDirectory(this.#root);
    return clone;
  }
}

function makeDurable(change: Change): void {
  const { from, to, node } = change;
  if (from !== undefined && from.directory.durable.get(from.name) === node) from.directory.durable.delete(from.name);
  to?.directory.durable.set(to.name, node);
}

function directoriesIn(directory: Directory, image: "current" | "durable"): Directory[] {
  const below = [...directory[image].values()].filter((node) => node instanceof Directory);
  return [directory, ...below.flatMap((each) => directoriesIn(each, image))];
}

function filesIn(directory: Directory, prefix: string): (readonly [string, Inode])[] {
  return [...directory.current]
    .sort(([a], [b]) => compareUtf8(a, b))
    .flatMap(([name, node]) =>
      node instanceof Directory ? filesIn(node, `${prefix}${name}/`) : [[`${prefix}${name}`, node] as const],
    );
}

function cloneDirectory(directory: Directory): Directory {
  const clone = new Directory();
  for (const [name, node] of directory.current) {
    clone.current.set(name, node instanceof Directory ? cloneDirectory(node) : node.clone());
  }
  clone.durable = new Map(clone.current);
  return clone;
}
