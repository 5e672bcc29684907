/** One machine is in no region: a pinned kind works there as any other does, and its pin can't be changed under its entities. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { z } from "zod";
import { entity } from "../entity/define.ts";
import { system } from "../entity/define-system.ts";
import { Place, principal } from "./embedded.fixture.ts";
import { inProcessClient } from "./in-process-client.ts";

const account = entity("account")
  .state(z.object({ cents: z.number() }), () => ({ cents: 0 }))
  .command("deposit", (state) => ++state.cents)
  .query("balance", (state) => state.cents);
const bankWith = (part: typeof account) => system("bank", { account: part });
const [anywhere, inEurope, inAmerica] = [
  bankWith(account),
  bankWith(account.region("eu")),
  bankWith(account.region("us")),
];

/** What a node with `before` has written is opened by one with `after`. */
async function changed(before: typeof anywhere, after: typeof anywhere): Promise<number> {
  const place = new Place("pins");
  return place.scheduler.complete(
    (async () => {
      const node = await place.open({ system: before });
      await inProcessClient(before, node.service, principal).account("alice").deposit();
      await node.close();
      const next = await place.open({ system: after });
      const balance = await inProcessClient(after, next.service, principal).account("alice").balance();
      await next.close();
      return balance;
    })(),
  );
}

describe("a kind that is pinned to a region", () => {
  test("is served by a node that serves alone", async () => {
    assert.equal(await changed(inEurope, inEurope), 1);
  });

  const changes = {
    pinned: [anywhere, inEurope],
    released: [inEurope, anywhere],
    moved: [inEurope, inAmerica],
  } as const;
  for (const [what, [before, after]] of Object.entries(changes)) {
    test(`is refused where it has entities and is ${what} later`, async () => {
      await assert.rejects(changed(before, after), {
        code: "invalid-configuration",
        message: /There are entities of account in other slots than its code says/,
      });
    });
  }
});
