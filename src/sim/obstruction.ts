/** What can be in the way between nodes, as a value; `network.ts` has what it does to messages. */
export interface Obstruction {
  /** A cut loses messages; a clog holds them until it is cleared. */
  readonly kind: "cut" | "clog";
  /** Names of nodes. */
  readonly from: readonly string[];
  /** By default all nodes that `from` doesn't name, the ones that join later included. */
  readonly to?: readonly string[];
  /** Also from `to` to `from`. Default false: one way. */
  readonly isBothWays?: boolean;
}

/** True if the obstruction is in the way from one node to another. */
export function obstructs(obstruction: Obstruction, fromNode: string, toNode: string): boolean {
  return (
    goes(obstruction, fromNode, toNode) || (obstruction.isBothWays === true && goes(obstruction, toNode, fromNode))
  );
}

function goes({ from, to }: Obstruction, fromNode: string, toNode: string): boolean {
  return from.includes(fromNode) && (to === undefined ? !from.includes(toNode) : to.includes(toNode));
}
