/** KIND/ID, as the command line names an entity. The kind ends at the first slash; the id may contain more of them. */
import type { EntityAddress } from "../entity/service.ts";
import { CommandFailure, exitCodes } from "./exit-code.ts";

/** Throws `CommandFailure` (usage) where there is no kind or no id. */
export function splitEntityPath(path: string): EntityAddress {
  const slash = path.indexOf("/");
  if (slash < 1 || slash === path.length - 1) {
    throw new CommandFailure(exitCodes.usage, `${JSON.stringify(path)} is not KIND/ID, such as account/alice.`);
  }
  return { kind: path.slice(0, slash), id: path.slice(slash + 1) };
}

/** KIND or KIND/ID. Throws `CommandFailure` (usage) for what is neither. */
export function splitKindOrEntityPath(path: string): { readonly kind: string; readonly id?: string } {
  if (path !== "" && !path.includes("/")) return { kind: path };
  return splitEntityPath(path);
}

/** The route of an entity below `base`. Throws `CommandFailure` (usage) for what a URL can't name. */
export function entityRoute(base: string, { kind, id }: EntityAddress): string {
  if (id === "." || id === "..") throw new CommandFailure(exitCodes.usage, `${id} is not an id.`);
  return `${base}/${encodeURIComponent(kind)}/${encodeURIComponent(id)}`;
}
