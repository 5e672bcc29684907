/** All mutants, in the order in which they are looked for. */
import { backups } from "./backups.ts";
import { claims } from "./claims.ts";
import { crossing } from "./crossing.ts";
import { engine } from "./engine.ts";
import { oneNode } from "./one-node.ts";
import { oneNodeRequests } from "./one-node-requests.ts";
import type { Mutant } from "./mutant.ts";
import { placement } from "./placement.ts";
import { testsAlone } from "./tests-alone.ts";

export const mutants: readonly Mutant[] = [
  ...oneNode,
  ...oneNodeRequests,
  ...engine,
  ...claims,
  ...crossing,
  ...placement,
  ...backups,
  ...testsAlone,
];
