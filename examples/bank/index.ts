export { bank } from "./bank.ts";

/** What `onefold start` and `onefold dev` suggest to try, in this order. */
export const examples = [
  { title: "Open an account with a first deposit", entity: "account/alice", command: "deposit", input: { cents: 500 } },
  { title: "Transfer between two accounts", transaction: "transfer", input: { from: "alice", to: "bob", cents: 200 } },
  { title: "Read it back", entity: "account/bob", query: "balance" },
];
