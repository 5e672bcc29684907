/**
 * Which code may write while a cluster is upgraded node by node (G11, hazard 22). Pure.
 *
 * What new code writes, old code can't always read: records of a later format, states of a later schema. So a member with newer code than
 * the others follows, and owns nothing, until all have it; from then on one with older code owns nothing any more.
 *
 *     all old ──some upgraded──▶ the old ones own ──the last old one drains or is gone──▶ deployed: the new ones own
 *
 * DC1 What is deployed never goes back, kind by kind and for the records' format.
 * DC2 It is raised only to what every live member has: whoever becomes an owner later can read whatever was written before.
 * DC3 Owners are members that have exactly what is deployed.
 */
import type { DeployedCode, MemberState, SchemaVersions, SystemState } from "./system-state.ts";

/** What the cluster could be said to have deployed now, or undefined where that is nothing more than it has. Members that drain don't count. */
export function deployable(state: SystemState): DeployedCode | undefined {
  const live = [...state.members.values()].filter(({ status }) => status === "live");
  if (live.length === 0) return undefined;
  const code = atLeast(state.deployed, live.reduce<DeployedCode>(common, live[0]!));
  return state.deployed !== undefined && isSame(code, state.deployed) ? undefined : code;
}

/** The state with this code deployed (DC1). */
export function deploy(state: SystemState, code: DeployedCode): SystemState {
  return { ...state, deployed: atLeast(state.deployed, code) };
}

/** DC3. Before anything was deployed, everyone may. */
export function hasDeployedCode(state: SystemState, member: MemberState): boolean {
  return state.deployed === undefined || isSame(state.deployed, member);
}

/** Where a member's code is behind what is deployed, in words; undefined where it is not. */
export function lagOf(state: SystemState, member: MemberState): string | undefined {
  const { deployed } = state;
  if (deployed === undefined) return undefined;
  if (member.readerVersion < deployed.readerVersion) {
    return `it reads records up to version ${member.readerVersion}, of ${deployed.readerVersion}`;
  }
  const kind = Object.keys(deployed.schemas).find((each) => versionOf(member, each) < versionOf(deployed, each));
  if (kind === undefined) return undefined;
  return `its schema of '${kind}' has version ${versionOf(member, kind)}, of ${versionOf(deployed, kind)}`;
}

function versionOf({ schemas }: DeployedCode, kind: string): number {
  return Object.hasOwn(schemas, kind) ? schemas[kind]! : 1;
}

function common(a: DeployedCode, b: DeployedCode): DeployedCode {
  return combined(a, b, Math.min);
}

function atLeast(a: DeployedCode | undefined, b: DeployedCode): DeployedCode {
  return a === undefined ? combined(b, b, Math.max) : combined(a, b, Math.max);
}

function combined(a: DeployedCode, b: DeployedCode, choose: (a: number, b: number) => number): DeployedCode {
  const schemas: Record<string, number> = {};
  // In an order of its own, so that equal folds give equal bytes.
  for (const kind of kindsOf(a, b)) {
    const version = choose(versionOf(a, kind), versionOf(b, kind));
    if (version > 1) schemas[kind] = version;
  }
  return { readerVersion: choose(a.readerVersion, b.readerVersion), schemas };
}

function isSame(a: DeployedCode, b: DeployedCode): boolean {
  return (
    a.readerVersion === b.readerVersion && kindsOf(a, b).every((kind) => versionOf(a, kind) === versionOf(b, kind))
  );
}

function kindsOf(a: DeployedCode, b: DeployedCode): readonly string[] {
  return [...new Set([...Object.keys(a.schemas), ...Object.keys(b.schemas)])].sort();
}

/** Of a system's code. */
export function schemaVersions(kinds: ReadonlyMap<string, { readonly schemaVersion: number }>): SchemaVersions {
  const versions: Record<string, number> = {};
  for (const [kind, { schemaVersion }] of kinds) if (schemaVersion > 1) versions[kind] = schemaVersion;
  return versions;
}
