/** A state as plain data, as a checkpoint holds it, and back. Maps keep their order, so that equal folds give equal bytes. */
import { nameOf } from "../entity/suspects.ts";
import type { StateImage } from "./system-records.ts";
import type { SystemState } from "./system-state.ts";

export function imageOf(state: SystemState): StateImage {
  return {
    ...state,
    members: [...state.members.values()],
    shards: [...state.shards.values()],
    suspects: [...state.suspects.values()],
  };
}

export function stateOf(image: StateImage): SystemState {
  return {
    ...image,
    members: new Map(image.members.map((member) => [member.id, member])),
    shards: new Map(image.shards.map((shard) => [shard.id, shard])),
    suspects: new Map(image.suspects.map((suspect) => [nameOf(suspect), suspect])),
  };
}
