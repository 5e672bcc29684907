/**
 * How fast the simulation of a user's system is: `npm run sim:speed -- --seeds 50` runs those seeds of the bank as
 * `onefold sim examples/bank --nodes 3` does, 16 shards, in this one process, and prints what they came to.
 *
 * The first seeds warm the compiler up and are not counted (`--warm`, default 5). `--hashes` prints each seed's trace hash, to compare two
 * versions of the sources by. Not measured: starting the program, and what further cores add.
 */
import { performance } from "node:perf_hooks";
import { parseArgs } from "node:util";
import { LateNotice } from "../src/sim/testing/call-limit.ts";
import { simulateUnder } from "../src/sim/testing/simulate-system.ts";
import { bank } from "../examples/bank/bank.ts";
import { simulation } from "../examples/bank/simulation.ts";

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "50" },
    from: { type: "string", default: "0" },
    warm: { type: "string", default: "5" },
    nodes: { type: "string", default: "3" },
    shards: { type: "string", default: "16" },
    hashes: { type: "boolean", default: false },
  },
});
const [from, count, warm] = [Number(values.from), Number(values.seeds), Number(values.warm)];
/** As under `onefold sim`: this is watched, and a thread for each call of user code is what a limit costs. */
const limit = new LateNotice(() => performance.now());
const how = { ...simulation, nodes: Number(values.nodes), shards: Number(values.shards) };

for (let index = 0; index < warm; index++) await simulateUnder(bank, { ...how, seed: `warm-${index}` }, limit);

let [virtualMs, events, operations] = [0, 0, 0];
const beganMs = performance.now();
const cpu = process.cpuUsage();
for (let seed = from; seed < from + count; seed++) {
  const report = await simulateUnder(bank, { ...how, seed }, limit);
  virtualMs += report.virtualMs;
  events += report.events;
  operations += report.operations;
  if (values.hashes) console.log(`${seed} ${report.traceHash}`);
}
const seconds = (performance.now() - beganMs) / 1000;
const { user, system } = process.cpuUsage(cpu);

const rows: readonly (readonly [string, string])[] = [
  ["seeds", `${count} on ${values.nodes} nodes with ${values.shards} shards`],
  ["simulated", `${(virtualMs / 1000).toFixed(1)} s`],
  ["took", `${seconds.toFixed(2)} s, of processors' time ${((user + system) / 1e6).toFixed(2)} s`],
  ["ratio", `${(virtualMs / 1000 / seconds).toFixed(1)} times as fast as simulated time`],
  ["seeds a second", (count / seconds).toFixed(2)],
  ["operations", String(operations)],
  [
    "events",
    `${events}, ${Math.round(events / seconds)} a second, ${Math.round(events / (virtualMs / 1000))} a simulated second`,
  ],
];
for (const [name, value] of rows) console.log(`${name.padEnd(16)}${value}`);
