/** What routing needs of its own node: what the system log says, and which shards it has here. Whoever runs the node provides it. */
import type { Value } from "../base/value.ts";
import type { EntityAddress, QueryReply, ReadOptions, Service, StateReply } from "../entity/service.ts";
import type { SystemState } from "./system-state.ts";

export interface ShardMap {
  /** As far as this node has read the system log. Another object for each change. */
  readonly state: SystemState;
  /** Calls `listener` after each change of `state`, until the returned function is called. It must not throw. */
  onChange(listener: () => void): () => void;
}

/** A shard that this node owns and serves: its claim stands, its anchors are held, everything up to the claim is applied. */
export interface OwnedShard extends Service {
  /** Answers another shard's request (`Neighbours.ask`). */
  answer(type: string, body: Value): Promise<Value>;
  readonly epoch: number;
  /** Of its log, in hex. */
  readonly incarnation: string;
}

/** A shard that this node follows. Its reads see what is applied here, and say how far and how old that is. */
export interface FollowerReads {
  readonly incarnation: string;
  /** Everything up to here is applied. */
  readonly sequence: number;
  /** The copy lacks nothing that was acknowledged earlier than so long ago. */
  readonly staleForMs: number;
  query(address: EntityAddress, name: string, input: unknown, options: ReadOptions): Promise<QueryReply>;
  state(address: EntityAddress, options: ReadOptions): Promise<StateReply>;
}

export interface LocalShards {
  /** The same object as long as the ownership lasts. */
  owned(shardId: string): OwnedShard | undefined;
  follower(shardId: string): FollowerReads | undefined;
}

export interface Standing {
  /** This node's renewals have not committed for `unavailableMs`, or it finds itself declared gone. */
  readonly isCutOff: boolean;
}
