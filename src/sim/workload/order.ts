/**
 * Strict serializability, checked from what is known of the order: is there one order of all requests in which each entity
 * saw its commands as it remembers them, each answer was true when it was given, and nothing ran before it was asked for or
 * after it had been answered? A cycle among these is a proof that there is none (Adya, 1999; as Elle does for lists, Kingsbury
 * and Alvaro, VLDB 2020; here each read names the version that it saw, so nothing need be inferred).
 */

export class OrderGraph {
  readonly #edges = new Map<string, Map<string, string>>();

  #node(name: string): Map<string, string> {
    let edges = this.#edges.get(name);
    if (edges === undefined) {
      edges = new Map();
      this.#edges.set(name, edges);
    }
    return edges;
  }

  /** `before` comes before `after`; a node never waits for itself. */
  add(before: string, after: string, why: string): void {
    if (before === after) return;
    this.#node(after);
    const edges = this.#node(before);
    if (!edges.has(after)) edges.set(after, why);
  }

  /** Every unit of one group comes before every one of the next: a chain of barriers saves the product of the edges. */
  addGroups(groups: readonly (readonly string[])[], name: string): void {
    for (const [index, group] of groups.entries()) {
      const barrier = `${name} ${index}`;
      if (index > 0) this.add(`${name} ${index - 1}`, barrier, "then");
      for (const unit of group) {
        if (index > 0) this.add(`${name} ${index - 1}`, unit, name);
        this.add(unit, barrier, name);
      }
    }
  }

  /** The nodes of a cycle with the reasons between them, or undefined if there is none. */
  cycle(): readonly string[] | undefined {
    const done = new Set<string>();
    const path: string[] = [];
    const onPath = new Set<string>();
    for (const start of this.#edges.keys()) {
      if (done.has(start)) continue;
      const stack = [this.#enter(start, path, onPath)];
      while (stack.length > 0) {
        const next = stack.at(-1)!.next();
        if (next.done === true) {
          stack.pop();
          const left = path.pop()!;
          onPath.delete(left);
          done.add(left);
        } else if (onPath.has(next.value)) {
          return this.#describe([...path.slice(path.indexOf(next.value)), next.value]);
        } else if (!done.has(next.value)) {
          stack.push(this.#enter(next.value, path, onPath));
        }
      }
    }
    return undefined;
  }

  #enter(node: string, path: string[], onPath: Set<string>): IterableIterator<string> {
    path.push(node);
    onPath.add(node);
    return this.#edges.get(node)!.keys();
  }

  #describe(nodes: readonly string[]): readonly string[] {
    return nodes.map((node, index) =>
      index === 0 ? node : `--(${this.#edges.get(nodes[index - 1]!)!.get(node)})--> ${node}`,
    );
  }
}
