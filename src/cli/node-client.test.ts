/** What the command line makes of nodes that don't answer as they should; `test/command-line*.test.ts` asks real ones. */
import assert from "node:assert/strict";
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { after, describe, test } from "node:test";
import { CommandFailure, exitCodes } from "./exit-code.ts";
import { askNode, queryText } from "./node-client.ts";

describe("asking a node", () => {
  const servers: Server[] = [];
  after(() => {
    for (const server of servers) server.close().closeAllConnections();
  });
  const serve = async (listener: RequestListener): Promise<string> => {
    const server = createServer(listener);
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  };
  const failureOf = async (url: string, facts: Partial<Parameters<typeof askNode>[0]>): Promise<CommandFailure> => {
    try {
      await askNode({ node: { url, header: [] }, method: "GET", path: "/", ...facts });
    } catch (error) {
      assert.ok(error instanceof CommandFailure, String(error));
      return error;
    }
    return assert.fail("there was an answer");
  };

  test("waits no longer than its bound: a read can be asked again, a call may have taken hold", async () => {
    const url = await serve(() => undefined);
    const read = await failureOf(url, { answerMs: 20 });
    assert.deepEqual([read.exitCode, /\(no answer in time\)/.test(read.message)], [exitCodes.unreachable, true]);
    const call = await failureOf(url, { method: "POST", body: "{}", answerMs: 20 });
    assert.equal(call.exitCode, exitCodes.outcomeUnknown);
    const half = await serve((_request, response) => {
      response.writeHead(200, { "content-type": "application/json" });
      response.write("[1,");
    });
    assert.equal((await failureOf(half, { answerMs: 20 })).exitCode, exitCodes.unreachable);
  });

  test("takes an answer that breaks off for none", async () => {
    const url = await serve((_request, response) => {
      response.writeHead(200, { "content-type": "application/json", "content-length": "10" });
      response.write("[1,");
      setImmediate(() => response.destroy());
    });
    assert.equal((await failureOf(url, {})).exitCode, exitCodes.unreachable);
    assert.equal((await failureOf(url, { method: "POST" })).exitCode, exitCodes.outcomeUnknown);
  });

  test("follows no redirect, and takes no page for an answer", async () => {
    const url = await serve((request, response) => {
      if (request.url === "/moved") response.writeHead(302, { location: "/" }).end();
      else response.writeHead(200, { "content-type": "text/html" }).end("<p>hello");
    });
    for (const path of ["/moved", "/"]) {
      const { exitCode, message } = await failureOf(url, { path });
      assert.deepEqual([exitCode, /not as a Onefold node does/.test(message)], [exitCodes.unreachable, true], path);
    }
  });

  test("shows the issues of a schema, the facts of an error, and what a refusal tells", async () => {
    const problems: Readonly<Record<string, object>> = {
      "/issues": {
        code: "invalid-input",
        detail: "It does not match.",
        retry: "never",
        issues: [{ path: ["cents"], message: "Too small" }, { message: "Odd" }],
      },
      "/facts": { code: "overloaded", title: "Too much", retry: "safe", queued: 7 },
      "/refused": { code: "too-few", retry: "never", refused: true, details: { count: 0 } },
      "/unknown": { code: "stopped", retry: "perhaps" },
    };
    const url = await serve((request, response) => {
      response.writeHead(500, { "content-type": "application/problem+json" });
      response.end(JSON.stringify(problems[request.url!]));
    });
    const said = async (path: string): Promise<readonly [number, string]> => {
      const { exitCode, message } = await failureOf(url, { path });
      return [exitCode, message];
    };
    assert.deepEqual(await said("/issues"), [
      exitCodes.refused,
      "invalid-input: It does not match.\n  cents: Too small\n  Odd",
    ]);
    assert.deepEqual(await said("/facts"), [exitCodes.tryLater, 'overloaded: Too much\n{\n  "queued": 7\n}']);
    assert.deepEqual(await said("/refused"), [exitCodes.refused, 'Refused: too-few\n{\n  "count": 0\n}']);
    assert.equal((await said("/unknown"))[0], exitCodes.outcomeUnknown);
  });

  test("sends what is asked for: headers of the user's, and parameters that are there", async () => {
    let seen: unknown;
    const url = await serve((request, response) => {
      seen = [request.method, request.url, request.headers.authorization, request.headers["x-two"]];
      response.writeHead(200, { "content-type": "application/json", "onefold-sequence": "12" }).end("[1]");
    });
    const path = `/v1/changes${queryText({ after: "0", kind: undefined, id: "a/b c" })}`;
    const answer = await askNode({
      node: { url: `${url}/ignored`, header: ["Authorization: Bearer x:y", "X-Two:  2 "] },
      method: "GET",
      path,
    });
    assert.deepEqual(answer, { body: "[1]", sequence: 12 });
    assert.deepEqual(seen, ["GET", "/v1/changes?after=0&id=a%2Fb+c", "Bearer x:y", "2"]);
    assert.equal(queryText({ a: undefined }), "");
  });
});
