import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { OnefoldError } from "../base/errors.ts";
import type { CallOptions } from "../entity/service.ts";
import { bankSystem, testHost } from "./bank.fake.ts";
import type { Gateway } from "./gateway.ts";
import { createGateway } from "./gateway.ts";
import { FakeService } from "./service.fake.ts";

describe("the routes of a system", () => {
  const host = testHost();
  const system = bankSystem();
  const service = new FakeService(system);
  let gateway: Gateway;

  before(async () => {
    gateway = await createGateway({ service, system, host, address: { hostname: "127.0.0.1", port: 0 } });
    await gateway.listen();
  });
  after(() => gateway.close());

  async function call(
    method: string,
    path: string,
    body?: unknown,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<{ status: number; headers: Headers; text: string; json: Record<string, unknown> }> {
    const response = await fetch(gateway.url + path, {
      method,
      headers: body === undefined ? headers : { "content-type": "application/json", ...headers },
      ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
    });
    const text = await response.text();
    const isJson = response.headers.get("content-type")?.includes("json") === true;
    return {
      status: response.status,
      headers: response.headers,
      text,
      json: isJson && text !== "" ? JSON.parse(text) : {},
    };
  }

  test("a command answers its output bare, with its place in the log", async () => {
    const reply = await call("POST", "/v1/entities/account/alice/deposit", { cents: 500 });
    assert.equal(reply.status, 200);
    assert.equal(reply.text, "500");
    assert.match(reply.headers.get("onefold-sequence")!, /^[1-9]\d*$/);
    assert.equal(reply.headers.get("cache-control"), "no-store");
    assert.equal(reply.headers.get("x-content-type-options"), "nosniff");
    assert.match(reply.headers.get("content-type")!, /^application\/json/);
  });

  test("a command without input and output takes an empty body and answers null", async () => {
    const reply = await call("POST", "/v1/entities/account/touched/touch");
    assert.deepEqual([reply.status, reply.text], [200, "null"]);
  });

  test("changes are told from a position on, of all entities or of those that are asked for", async () => {
    const start = (await call("GET", "/v1/changes")).json;
    assert.deepEqual([start.items, start.trimmed, typeof start.log], [[], false, "string"]);
    await call("POST", "/v1/entities/account/changed%2Fone/deposit", { cents: 5 });
    await call("POST", "/v1/entities/account/changed/deposit", { cents: 6 });
    const { json } = await call("GET", `/v1/changes?after=${start.next}&limit=10&waitMs=100`);
    const items = json.items as readonly { readonly kind: string; readonly id: string; readonly command: string }[];
    assert.deepEqual(
      items.map(({ kind, id, command }) => [kind, id, command]),
      [
        ["account", "changed/one", "deposit"],
        ["account", "changed", "deposit"],
      ],
    );
    const one = await call("GET", `/v1/changes?after=${start.next}&kind=account&id=changed%2Fone`);
    assert.equal((one.json.items as readonly unknown[]).length, 1);
    for (const [query, status, code] of [
      ["id=a", 400, "malformed"],
      ["kind=acount", 404, "unknown-kind"],
      ["kind=account&id=.", 400, "invalid-id"],
      ["waitMs=20001", 400, "malformed"],
      ["limit=0", 400, "malformed"],
      ["since=1", 400, "malformed"],
    ] as const) {
      const reply = await call("GET", `/v1/changes?${query}`);
      assert.deepEqual([reply.status, reply.json.code], [status, code], query);
    }
  });

  test("a query answers for an entity that has had no command", async () => {
    const reply = await call("GET", "/v1/entities/account/nobody/balance");
    assert.deepEqual([reply.status, reply.text], [200, "0"]);
  });

  test("a query takes its input from the URL as JSON", async () => {
    const input = encodeURIComponent(JSON.stringify({ cents: 7 }));
    const reply = await call("GET", `/v1/entities/account/nobody/plus?input=${input}&read=strong`);
    assert.deepEqual([reply.status, reply.text], [200, "7"]);
    assert.equal((service.lastOptions as { read?: string }).read, "strong");
  });

  test("bytes, dates and big integers travel as tagged JSON both ways", async () => {
    const text =
      '{"a":{"$bytes":"AAEC"},"b":{"$date":"2020-01-02T03:04:05.006Z"},"c":{"$bigint":"12345678901234567890"}}';
    const reply = await call("POST", "/v1/entities/account/echo/echo", text);
    assert.equal(reply.status, 200);
    assert.deepEqual(reply.json, JSON.parse(text));
  });

  test("a transaction runs, and a refusal in it leaves everything as it was", async () => {
    await call("POST", "/v1/entities/account/carol/deposit", { cents: 100 });
    const good = await call("POST", "/v1/transactions/transfer", { from: "carol", to: "dave", cents: 40 });
    assert.deepEqual([good.status, good.text], [200, "null"]);
    const bad = await call("POST", "/v1/transactions/transfer", { from: "carol", to: "dave", cents: 100 });
    assert.equal(bad.status, 422);
    assert.equal(bad.json.code, "insufficient-funds");
    assert.equal((await call("GET", "/v1/entities/account/carol/balance")).text, "60");
    assert.equal((await call("GET", "/v1/entities/account/dave/balance")).text, "40");
  });

  test("a refusal carries its own code and its details as values", async () => {
    const reply = await call("POST", "/v1/entities/account/poor/withdraw", { cents: 1 });
    assert.equal(reply.status, 422);
    assert.match(reply.headers.get("content-type")!, /^application\/problem\+json/);
    assert.deepEqual(reply.json, {
      type: "urn:onefold:refused",
      title: "The command refused",
      status: 422,
      detail: "refused: insufficient-funds",
      code: "insufficient-funds",
      retry: "never",
      refused: true,
      details: { balanceCents: 0, at: { $date: "1970-01-01T00:00:00.000Z" } },
    });
  });

  test("/v1/call runs commands, queries and transactions with everything in the body", async () => {
    const id = "a/b/../%2F?#";
    const one = await call("POST", "/v1/call", { kind: "account", id, name: "deposit", input: { cents: 5 } });
    assert.deepEqual([one.status, one.text], [200, "5"]);
    const two = await call("POST", "/v1/call", { kind: "account", id, name: "balance" });
    assert.deepEqual([two.status, two.text], [200, "5"]);
    const three = await call("POST", "/v1/call", { transaction: "transfer", input: { from: id, to: "eve", cents: 5 } });
    assert.deepEqual([three.status, three.text], [200, "null"]);
    const path = `/v1/entities/account/${encodeURIComponent(id)}/balance`;
    assert.equal((await call("GET", path)).text, "0");
  });

  for (const body of [
    [],
    null,
    {},
    "",
    { kind: "account", id: "a" },
    { kind: "account", id: 5, name: "touch" },
    { transaction: "transfer", kind: "account" },
    { kind: "account", id: "a", name: "touch", extra: 1 },
  ]) {
    test(`/v1/call refuses the body ${JSON.stringify(body)} as malformed`, async () => {
      const reply = await call("POST", "/v1/call", body);
      assert.deepEqual([reply.status, reply.json.code], [400, "malformed"]);
    });
  }

  test("raw state has an ETag, answers 304 to it, and is gone after a delete", async () => {
    const path = "/v1/entities/account/frank";
    assert.deepEqual([(await call("GET", path)).status, (await call("GET", path)).json.code], [404, "not-found"]);
    await call("POST", `${path}/deposit`, { cents: 3 });
    const first = await call("GET", path);
    assert.deepEqual([first.status, first.text], [200, '{"balanceCents":3}']);
    const etag = first.headers.get("etag")!;
    assert.match(etag, /^"[\d-]+"$/);
    const second = await call("GET", path, undefined, { "if-none-match": `"other", W/${etag}` });
    assert.deepEqual([second.status, second.text, second.headers.get("etag")], [304, "", etag]);
    await call("POST", `${path}/deposit`, { cents: 3 });
    assert.equal((await call("GET", path, undefined, { "if-none-match": etag })).status, 200);
    const gone = await call("DELETE", path);
    assert.deepEqual([gone.status, gone.text], [204, ""]);
    assert.match(gone.headers.get("onefold-sequence")!, /^\d+$/);
    assert.equal((await call("GET", path)).status, 404);
    assert.equal((await call("DELETE", path)).status, 404);
    await call("POST", `${path}/deposit`, { cents: 3 });
    assert.notEqual((await call("GET", path)).headers.get("etag"), etag, "a new generation has new tags");
  });

  test("listing goes through all ids in order, page by page, and by prefix", async () => {
    for (const id of ["list/1", "list/2", "list/3", "other"]) {
      await call("POST", `/v1/entities/account/${encodeURIComponent(id)}/deposit`, { cents: 1 });
    }
    const first = await call("GET", "/v1/entities/account?prefix=list/&limit=2");
    assert.deepEqual(first.json.ids, ["list/1", "list/2"]);
    const cursor = encodeURIComponent(first.json.cursor as string);
    const second = await call("GET", `/v1/entities/account?prefix=list/&limit=2&cursor=${cursor}`);
    assert.deepEqual(second.json, { ids: ["list/3"] });
    for (const limit of ["0", "1001", "-1", "x", "1e3", ""]) {
      const reply = await call("GET", `/v1/entities/account?limit=${limit}`);
      assert.deepEqual([reply.status, reply.json.code], [400, "malformed"], `limit=${limit}`);
    }
  });

  test("history tells what happened, newest first", async () => {
    await call("POST", "/v1/entities/account/hist/deposit", { cents: 1 });
    await call("POST", "/v1/entities/account/hist/withdraw", { cents: 1 });
    const reply = await call("GET", "/v1/history/account/hist?limit=5");
    assert.equal(reply.status, 200);
    const items = reply.json.items as { command: string; subject: string }[];
    assert.deepEqual(
      items.map((item) => [item.command, item.subject]),
      [
        ["withdraw", "developer"],
        ["deposit", "developer"],
      ],
    );
    assert.equal(reply.json.trimmed, false);
  });

  test("dead letters are shown with their inputs as values, of one kind or all", async () => {
    const letter = {
      letter: "7.0",
      sequence: 7,
      timeMs: 5,
      kind: "account",
      id: "bob",
      command: "deposit",
      input: { cents: 200n },
      by: "message",
      subject: "alice",
      code: "not-now",
      detail: "refused: not-now",
      waits: false,
    } as const;
    service.letters = [letter, { ...letter, kind: "transfer" }];
    const all = await call("GET", "/v1/dead-letters");
    assert.equal(all.status, 200);
    const [first, second] = all.json.items as unknown[];
    assert.deepEqual(first, { ...letter, input: { cents: { $bigint: "200" } } });
    assert.equal((second as { kind: string }).kind, "transfer");
    assert.equal(all.json.removed, 0);
    const some = await call("GET", "/v1/dead-letters?kind=account&limit=1");
    assert.deepEqual((some.json.items as unknown[]).length, 1);
    service.letters = [];
    assert.equal((await call("GET", "/v1/dead-letters?kind=nothing")).json.code, "unknown-kind");
    for (const parameters of ["limit=0", "limit=1001", "read=strong", "kind=account&kind=account"]) {
      const reply = await call("GET", `/v1/dead-letters?${parameters}`);
      assert.deepEqual([reply.status, reply.json.code], [400, "malformed"], parameters);
    }
  });

  test("a session's request is passed on with its numbers, and its token comes back with every reply", async () => {
    const minted = await call("POST", "/v1/sessions");
    assert.equal(minted.status, 200);
    const token = minted.json.session as string;
    assert.equal(minted.headers.get("onefold-session"), token);
    const headers = { "onefold-session": token, "onefold-request": "1;lowest=1" };
    const path = "/v1/entities/account/session/deposit";
    const one = await call("POST", path, { cents: 5 }, headers);
    const two = await call("POST", path, { cents: 5 }, headers);
    assert.deepEqual([one.text, two.text], ["5", "5"]);
    assert.equal(one.headers.get("onefold-sequence"), two.headers.get("onefold-sequence"));
    assert.equal(one.headers.get("onefold-session"), token);
    const failed = await call("POST", path, { cents: -5 }, { ...headers, "onefold-request": "2; lowest=2" });
    assert.deepEqual([failed.status, failed.headers.get("onefold-session")], [422, token]);
    const read = await call("GET", "/v1/entities/account/session/balance?read=session", undefined, {
      "onefold-session": token,
    });
    assert.equal(read.text, "5");
    assert.equal((service.lastOptions as { sessionToken?: string }).sessionToken, token);
  });

  test("an idempotency key is passed on by POST and DELETE", async () => {
    const headers = { "idempotency-key": "order 17" };
    await call("POST", "/v1/entities/account/idem/deposit", { cents: 5 }, headers);
    const again = await call("POST", "/v1/entities/account/idem/deposit", { cents: 5 }, headers);
    assert.equal(again.text, "5");
    await call("DELETE", "/v1/entities/account/idem", undefined, headers);
    assert.equal((service.lastOptions as { idempotencyKey?: string }).idempotencyKey, "order 17");
  });

  test("the deadline is passed on, less what has passed", async () => {
    await call("POST", "/v1/entities/account/late/touch", undefined, { "onefold-deadline-ms": "1234" });
    const { deadlineMs } = service.lastOptions!;
    assert.ok(deadlineMs! > 0 && deadlineMs! <= 1234, String(deadlineMs));
    await call("POST", "/v1/entities/account/late/touch");
    assert.ok(service.lastOptions!.deadlineMs! > 20_000 && service.lastOptions!.deadlineMs! <= 30_000);
  });

  test("what an input took on the wire is passed on, so that queues are bounded by it", async () => {
    await call("POST", "/v1/entities/account/sized/deposit", { cents: 5 });
    assert.equal((service.lastOptions as CallOptions).inputBytes, '{"cents":5}'.length);
    await call("POST", "/v1/entities/account/sized/touch");
    assert.equal((service.lastOptions as CallOptions).inputBytes, 0);
  });

  const badHeaders: readonly Readonly<Record<string, string>>[] = [
    { "onefold-deadline-ms": "0" },
    { "onefold-deadline-ms": "300001" },
    { "onefold-deadline-ms": "soon" },
    { "onefold-request": "1;lowest=1" },
    { "onefold-session": "t", "onefold-request": "1" },
    { "onefold-session": "t", "onefold-request": "1;lowest=2" },
    { "onefold-session": "t", "onefold-request": "0;lowest=0" },
    { "onefold-session": "t", "onefold-request": "1;lowest=1", "idempotency-key": "k" },
    { "onefold-session": "two words" },
    { "idempotency-key": "k".repeat(256) },
    { "idempotency-key": "schlüssel" },
  ];
  for (const headers of badHeaders) {
    test(`the headers ${JSON.stringify(headers).slice(0, 90)} are refused as malformed`, async () => {
      const calls = service.callCount;
      const reply = await call("POST", "/v1/entities/account/headers/touch", undefined, headers);
      assert.deepEqual([reply.status, reply.json.code, reply.json.retry], [400, "malformed", "never"]);
      assert.equal(service.callCount, calls);
    });
  }

  const refusals: readonly [method: string, path: string, status: number, code: string, hint: RegExp][] = [
    ["POST", "/v1/entities/acount/a/deposit", 404, "unknown-kind", /Did you mean account\?/],
    ["POST", "/v1/entities/Account/a/deposit", 404, "unknown-kind", /Did you mean account\?/],
    ["POST", "/v1/entities/constructor/a/deposit", 404, "unknown-kind", /./],
    ["POST", "/v1/entities/__proto__/a/deposit", 404, "unknown-kind", /./],
    ["POST", "/v1/entities/account/a/deposti", 404, "unknown-command", /Did you mean deposit\?/],
    ["POST", "/v1/entities/account/a/balance", 404, "unknown-command", /GET it/],
    ["POST", "/v1/entities/account/a/toString", 404, "unknown-command", /./],
    ["GET", "/v1/entities/account/a/balanc", 404, "unknown-query", /Did you mean balance\?/],
    ["GET", "/v1/entities/account/a/deposit", 404, "unknown-query", /POST it/],
    ["POST", "/v1/transactions/tranfer", 404, "unknown-transaction", /Did you mean transfer\?/],
    ["GET", "/v1/entities/nothing", 404, "unknown-kind", /./],
    ["GET", "/openapi.yaml", 404, "unknown-route", /./],
    ["GET", "/v1/socket", 404, "unknown-route", /./],
    ["GET", "/V1/entities/account", 404, "unknown-route", /./],
    ["GET", "/v1/entities/account/a/balance/", 404, "unknown-route", /./],
    ["GET", "/v1/entities/account//balance", 400, "invalid-id", /./],
    ["GET", "/v1/entities/account/a/balance?reed=strong", 400, "malformed", /input, read/],
    ["GET", "/v1/entities/account/a/balance?read=weak", 400, "malformed", /./],
    ["GET", "/v1/entities/account/a/balance?read=session", 400, "malformed", /Onefold-Session/],
    ["GET", "/v1/entities/account/a/balance?read=strong&read=eventual", 400, "malformed", /more than once/],
    ["GET", "/v1/entities/account/a/plus?input=%7B", 400, "malformed", /./],
    ["GET", "/v1/entities/account/a/plus?input=%FF", 400, "malformed", /./],
    ["GET", "/v1/entities/account/%FF/balance", 400, "malformed", /./],
    ["GET", "/v1/entities/account/%/balance", 400, "malformed", /./],
    ["GET", "/v1/entities/account/a/plus", 422, "invalid-input", /./],
    ["PUT", "/v1/entities/account/a", 405, "method-not-allowed", /./],
    ["PATCH", "/v1/entities/account/a/deposit", 405, "method-not-allowed", /./],
    ["GET", "/v1/call", 405, "method-not-allowed", /./],
    ["DELETE", "/v1/transactions/transfer", 405, "method-not-allowed", /./],
  ];
  for (const [method, path, status, code, hint] of refusals) {
    test(`${method} ${path} is refused with ${status} ${code}`, async () => {
      const reply = await call(method, path);
      assert.deepEqual([reply.status, reply.json.code, reply.json.status], [status, code, status]);
      assert.equal(reply.json.type, `urn:onefold:error:${code}`);
      assert.match(reply.json.detail as string, hint);
      if (status === 405) assert.match(reply.headers.get("allow")!, /^(GET|POST)/);
    });
  }

  test("an input that does not match its schema is refused with the schema's issues", async () => {
    const reply = await call("POST", "/v1/entities/account/a/deposit", { cents: "five" });
    assert.deepEqual([reply.status, reply.json.code, reply.json.retry], [422, "invalid-input", "never"]);
    const [issue] = reply.json.issues as { path: string[] }[];
    assert.deepEqual(issue!.path, ["cents"]);
  });

  const ids: readonly [written: string, id: string][] = [
    ["a%2Fb", "a/b"],
    ["%2E%2E%2F", "../"],
    ["a%252Fb", "a%2Fb"],
    ["%25", "%"],
    ["%2541", "%41"],
    ["a;b=c", "a;b=c"],
    ["a+b", "a+b"],
    ["a%3Fb%23c", "a?b#c"],
    ["%F0%9F%98%80", "😀"],
    ["%e2%82%ac", "€"],
    ["A", "A"],
    ["...", "..."],
    ["a:b@c&d=e,f$g", "a:b@c&d=e,f$g"],
    [":id", ":id"],
    ["*", "*"],
    ["__proto__", "__proto__"],
    ["x".repeat(512), "x".repeat(512)],
  ];
  for (const [written, id] of ids) {
    test(`the path part ${written.slice(0, 20)} is the id ${id.slice(0, 20)}`, async () => {
      const wire = await call("POST", `/v1/entities/account/${written}/deposit`, { cents: 1 });
      assert.equal(wire.text, "1");
      const { json } = await call("GET", `/v1/entities/account?prefix=${encodeURIComponent(id)}`);
      assert.ok((json.ids as string[]).includes(id), JSON.stringify(json));
    });
  }

  for (const id of ["", ".", "..", "a\0b", "x".repeat(513), "€".repeat(171), "x".repeat(10_000)]) {
    test(`the id ${JSON.stringify(id.slice(0, 10))} of ${id.length} characters is refused`, async () => {
      const reply = await call("POST", "/v1/call", { kind: "account", id, name: "touch" });
      assert.deepEqual([reply.status, reply.json.code], [400, "invalid-id"]);
    });
  }

  test("an id of 10 kB in the path is refused as an id, not lost as a route", async () => {
    const reply = await call("GET", `/v1/entities/account/${"x".repeat(10_000)}/balance`);
    assert.deepEqual([reply.status, reply.json.code], [400, "invalid-id"]);
  });

  const bodies: readonly [what: string, body: string, status: number, code: string][] = [
    ["half an object", '{"cents":', 400, "malformed"],
    ["two values", "1 2", 400, "malformed"],
    ["a __proto__ key", '{"__proto__":{"cents":1}}', 400, "malformed"],
    ["100,000 nested arrays", "[".repeat(100_000) + "]".repeat(100_000), 400, "malformed"],
    ["100,000 nested objects", '{"a":'.repeat(100_000), 400, "malformed"],
    ["a bad tag", '{"cents":{"$bigint":"x"}}', 400, "malformed"],
    ["a number", "5", 422, "invalid-input"],
    ["null", "null", 422, "invalid-input"],
  ];
  for (const [what, body, status, code] of bodies) {
    test(`a body that is ${what} is refused with ${status} ${code}`, async () => {
      const reply = await call("POST", "/v1/entities/account/bodies/deposit", body);
      assert.deepEqual([reply.status, reply.json.code], [status, code], reply.text);
    });
  }

  test("a body that is not UTF-8 is malformed", async () => {
    const response = await fetch(`${gateway.url}/v1/entities/account/a/echo`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: new Uint8Array([0x22, 0xff, 0xfe, 0x22]),
    });
    const { code } = (await response.json()) as { code: string };
    assert.deepEqual([response.status, code], [400, "malformed"]);
  });

  for (const headers of [
    { "content-type": "text/plain" },
    { "content-type": "application/x-www-form-urlencoded" },
    { "content-type": "nonsense" },
    { "content-type": "application/json", "content-encoding": "gzip" },
  ]) {
    test(`a body with ${JSON.stringify(headers)} is an unsupported media type`, async () => {
      const reply = await call("POST", "/v1/entities/account/a/deposit", { cents: 1 }, headers);
      assert.deepEqual([reply.status, reply.json.code], [415, "unsupported-media-type"]);
    });
  }

  test("application/json with a charset is understood", async () => {
    const headers = { "content-type": "application/json; charset=utf-8" };
    assert.equal((await call("POST", "/v1/entities/account/charset/deposit", { cents: 1 }, headers)).status, 200);
  });

  test("HEAD answers as GET does, without the body", async () => {
    const reply = await call("HEAD", "/v1/entities/account/nobody/balance");
    assert.deepEqual([reply.status, reply.text, reply.headers.get("content-length")], [200, "", "1"]);
  });

  test("OPTIONS names the methods of a route and allows nothing to other origins", async () => {
    const reply = await call("OPTIONS", "/v1/entities/account/a");
    assert.deepEqual([reply.status, reply.headers.get("allow")], [204, "GET, DELETE, HEAD, OPTIONS"]);
    assert.equal(reply.headers.get("access-control-allow-origin"), null);
    assert.equal((await call("OPTIONS", "/nowhere")).status, 404);
  });

  test("the front page says what runs here", async () => {
    const reply = await call("GET", "/");
    assert.equal(reply.status, 200);
    assert.match(reply.headers.get("content-type")!, /^text\/html/);
    assert.match(reply.text, /<h1>bank<\/h1>/);
    assert.match(reply.text, /POST \/v1\/entities\/account\/\{id\}\/deposit/);
    assert.match(reply.text, /POST \/v1\/transactions\/transfer/);
  });

  test("readiness tells progress, and its problems with 503 when there are any", async () => {
    const ready = await call("GET", "/readyz");
    assert.deepEqual([ready.status, ready.json.state, ready.json.sequence], [200, "ready", 0]);
    const health = service.healthNow;
    service.healthNow = { ...health, state: "starting", problems: ["the log is being read"] };
    const starting = await call("GET", "/readyz");
    service.healthNow = { ...health, state: "stopped" };
    const [stopped, dead] = [await call("GET", "/readyz"), await call("GET", "/healthz")];
    service.healthNow = health;
    assert.deepEqual([starting.status, starting.json.code], [503, "not-ready"]);
    assert.deepEqual(starting.json.problems, ["the log is being read"]);
    assert.equal(starting.headers.get("retry-after"), "1");
    assert.deepEqual([stopped.status, dead.status], [503, 503]);
    assert.equal((await call("GET", "/healthz")).status, 200);
  });

  const failures: readonly [error: unknown, status: number, code: string, retry: string, retryAfter: string | null][] =
    [
      [new OnefoldError("overloaded", "full", { retryAfterMs: 1500 }), 503, "overloaded", "safe", "2"],
      [new OnefoldError("over-quota", "much", { retryAfterMs: 10 }), 429, "over-quota", "safe", "1"],
      [new OnefoldError("conflict", "lost"), 409, "conflict", "safe", null],
      [new OnefoldError("deadline-passed", "late"), 504, "deadline-passed", "unknown", null],
      [new OnefoldError("deadline-passed", "late", { retry: "safe" }), 504, "deadline-passed", "safe", null],
      [new OnefoldError("outcome-unknown", "who knows"), 503, "outcome-unknown", "unknown", "1"],
      [new OnefoldError("quarantined", "no more"), 503, "quarantined", "never", null],
      [new OnefoldError("session-expired", "over"), 409, "session-expired", "never", null],
      [new OnefoldError("idempotency-mismatch", "other body"), 422, "idempotency-mismatch", "never", null],
      [new OnefoldError("command-failed", "x is not a function"), 500, "command-failed", "never", null],
    ];
  for (const [error, status, code, retry, retryAfter] of failures) {
    test(`the service's ${code} (retry ${retry}) is answered with ${status}`, async () => {
      service.failWith = error;
      const reply = await call("POST", "/v1/entities/account/failing/touch");
      service.failWith = undefined;
      assert.deepEqual([reply.status, reply.json.code, reply.json.retry], [status, code, retry]);
      assert.equal(reply.headers.get("retry-after"), retryAfter);
    });
  }

  test("a bug is answered as internal without its stack, and traced with the trace context", async () => {
    const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const bug = new TypeError("secret");
    service.failWith = bug;
    const reply = await call("POST", "/v1/entities/account/failing/touch", undefined, { traceparent });
    service.failWith = undefined;
    assert.deepEqual([reply.status, reply.json.code, reply.json.retry], [500, "internal", "unknown"]);
    assert.doesNotMatch(reply.text, /secret|\.ts/);
    const line = host.traced.at(-1)!;
    assert.equal(line.level, "error");
    assert.equal(line.fields!.error, bug);
    assert.equal(line.fields!.traceparent, traceparent);
  });
});
