/**
 * Fuzzes the example systems by their own OpenAPI documents, for as long as one likes:
 *
 *     npm run fuzz [-- --seconds 60] [--seed 1]
 */
import { parseArgs } from "node:util";
import { bank } from "../examples/bank/bank.ts";
import { exchange } from "../examples/order-book/order-book.ts";
import { fuzz, summaryText } from "../test/fuzz/fuzzer.ts";
import { credentials, varied } from "../test/fuzz/varied-system.ts";

const { values } = parseArgs({ options: { seconds: { type: "string", default: "60" }, seed: { type: "string" } } });
const seconds = Number(values.seconds);
const seed = values.seed === undefined ? Date.now() % 2 ** 31 : Number(values.seed);
const systems = [{ system: bank }, { system: exchange }, { system: varied, credentials }];
for (const each of systems) {
  console.log(summaryText(await fuzz({ ...each, seed, forMs: (seconds * 1000) / systems.length })));
}
