/** A part of the drill: operations of one kind, which clients choose from, and what is judged of them at the end. */
import type { SeededRandom } from "../../base/random.ts";
import type { Value } from "../../base/value.ts";
import type { Service } from "../../entity/service.ts";
import type { Finding } from "../checkers/history.ts";
import type { Answer, ClusterClient } from "./cluster-client.ts";

/** One operation of one client. Resolves when it is over, whatever came of it. */
export type DrillOperation = (client: ClusterClient, random: SeededRandom) => Promise<void>;

/** Asks the healed cluster until it answers. */
export type LastWord = (call: (service: Service) => Promise<Answer>) => Promise<Value | undefined>;

export interface DrillPart {
  readonly operations: readonly DrillOperation[];
  /** Once all clients have had their last answers, and the cluster is healed. */
  judge(ask: LastWord): Promise<readonly Finding[]>;
}
