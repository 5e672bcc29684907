import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { OnefoldError } from "../base/errors.ts";
import type { SystemOptions } from "../entity/definition.ts";
import { bankSystem, testHost } from "./bank.fake.ts";
import type { Gateway } from "./gateway.ts";
import { createGateway } from "./gateway.ts";
import { FakeService } from "./service.fake.ts";
import { request, Wire, type WireReply } from "./wire.fake.ts";

interface Bench {
  readonly gateway: Gateway;
  readonly service: FakeService;
  readonly host: ReturnType<typeof testHost>;
  ask(method: string, path: string, headers?: Readonly<Record<string, string>>): Promise<WireReply>;
}

async function withSystem(options: SystemOptions, run: (bench: Bench) => Promise<void>): Promise<void> {
  const system = bankSystem(options);
  const service = new FakeService(system);
  const host = testHost();
  const gateway = await createGateway({ service, system, host, address: { hostname: "127.0.0.1", port: 0 } });
  await gateway.listen();
  const wire = await Wire.connect(gateway.port);
  try {
    await run({
      gateway,
      service,
      host,
      ask: (method, path, headers = {}) => {
        wire.write(request(method, path, { headers: { "content-length": "0", ...headers } }));
        return wire.reply();
      },
    });
  } finally {
    wire.close();
    await gateway.close();
  }
}

function codeOf(reply: WireReply): string {
  return (JSON.parse(reply.body) as { code: string }).code;
}

const touch = "/v1/entities/account/a/touch";

describe("without authenticate", () => {
  for (const host of [
    "evil.example",
    "evil.example:7400",
    "127.0.0.1.evil.example",
    "localhost.evil",
    "10.0.0.1",
    "a b",
    "[",
  ]) {
    test(`the host ${host} is refused, so that a rebound name reaches nothing`, async () => {
      await withSystem({}, async ({ ask, service }) => {
        for (const [method, path] of [
          ["GET", "/v1/entities/account/a"],
          ["POST", touch],
        ] as const) {
          const reply = await ask(method, path, { host });
          assert.deepEqual([reply.status, codeOf(reply)], [403, "forbidden"]);
        }
        assert.equal(service.callCount, 0);
      });
    });
  }

  for (const host of ["localhost", "LOCALHOST:7400", "127.0.0.1:1", "127.8.8.8", "[::1]:7400"]) {
    test(`the host ${host} is served`, async () => {
      await withSystem({}, async ({ ask }) => assert.equal((await ask("POST", touch, { host })).status, 200));
    });
  }

  for (const headers of [
    { origin: "https://evil.example" },
    { origin: "null" },
    { origin: "http://127.0.0.1:3000" },
    { origin: "http://127.0.0.1@evil.example" },
    { "sec-fetch-site": "cross-site" },
  ] as readonly Readonly<Record<string, string>>[]) {
    test(`a page with ${JSON.stringify(headers)} can change nothing`, async () => {
      await withSystem({}, async ({ ask, service }) => {
        for (const method of ["POST", "DELETE"]) {
          const reply = await ask(method, method === "POST" ? touch : "/v1/entities/account/a", headers);
          assert.deepEqual([reply.status, codeOf(reply)], [403, "forbidden"]);
        }
        assert.equal(service.callCount, 0);
      });
    });
  }

  test("a page that this node serves itself may call it", async () => {
    await withSystem({}, async ({ ask }) => {
      const headers = { host: "localhost:7400", origin: "http://localhost:7400", "sec-fetch-site": "same-origin" };
      assert.equal((await ask("POST", touch, headers)).status, 200);
    });
  });

  test("the caller is the developer, with every scope", async () => {
    await withSystem({}, async ({ ask, service }) => {
      await ask("POST", touch);
      assert.deepEqual(service.lastOptions!.principal, { tenant: "default", subject: "developer", scopes: ["*"] });
      assert.equal((await ask("GET", "/v1/entities/account/a")).status, 200);
      assert.equal((await ask("DELETE", "/v1/entities/account/a")).status, 204);
    });
  });

  for (const hostname of ["0.0.0.0", "::", "192.168.1.5", "example.org", "::ffff:10.0.0.1"]) {
    test(`binding ${hostname} is refused with the reason and what to do`, async () => {
      const system = bankSystem();
      await assert.rejects(
        createGateway({
          service: new FakeService(system),
          system,
          host: testHost(),
          address: { hostname, port: 0 },
        }),
        (error: unknown) => {
          assert.ok(error instanceof OnefoldError);
          assert.equal(error.code, "invalid-configuration");
          assert.match(error.message, /authenticate/);
          assert.match(error.message, /127\.0\.0\.1/);
          return true;
        },
      );
    });
  }
});

describe("with authenticate", () => {
  const authenticate: NonNullable<SystemOptions["authenticate"]> = ({ headers }) => {
    const subject = headers.authorization?.replace("Bearer ", "");
    if (subject === undefined) return null;
    const scopes = subject === "root" ? ["admin", "inspect"] : subject === "auditor" ? ["inspect"] : [];
    return { tenant: "shop", subject, scopes };
  };
  const as = (subject: string): Record<string, string> => ({ authorization: `Bearer ${subject}` });

  test("a request without credentials gets 401 and reaches nothing", async () => {
    await withSystem({ authenticate }, async ({ ask, service }) => {
      for (const [method, path] of [
        ["POST", touch],
        ["GET", "/v1/entities/account/a/balance"],
        ["GET", "/"],
        ["POST", "/v1/sessions"],
      ] as const) {
        const reply = await ask(method, path);
        assert.deepEqual([reply.status, codeOf(reply)], [401, "unauthenticated"]);
        assert.ok(reply.headers["www-authenticate"]);
      }
      assert.equal(service.callCount, 0);
    });
  });

  test("health is answered without credentials", async () => {
    await withSystem({ authenticate }, async ({ ask }) => {
      assert.deepEqual([(await ask("GET", "/healthz")).status, (await ask("GET", "/readyz")).status], [200, 200]);
    });
  });

  test("the principal goes with the call, under any host name", async () => {
    await withSystem({ authenticate: async (facts) => authenticate(facts) }, async ({ ask, service }) => {
      assert.equal((await ask("POST", touch, { ...as("ann"), host: "api.example.org" })).status, 200);
      assert.deepEqual(service.lastOptions!.principal, { tenant: "shop", subject: "ann", scopes: [] });
    });
  });

  test("raw access needs its scopes", async () => {
    await withSystem({ authenticate }, async ({ ask }) => {
      const raw = ["/v1/entities/account/a", "/v1/entities/account", "/v1/history/account/a", "/v1/dead-letters"];
      await ask("POST", touch, as("ann"));
      for (const path of raw) {
        const refused = await ask("GET", path, as("ann"));
        assert.deepEqual([refused.status, codeOf(refused)], [403, "forbidden"], path);
        assert.equal((await ask("GET", path, as("auditor"))).status, 200, path);
      }
      assert.equal((await ask("DELETE", raw[0]!, as("auditor"))).status, 403);
      assert.equal((await ask("DELETE", raw[0]!, as("root"))).status, 204);
    });
  });

  test("authorize decides each operation, and only by true", async () => {
    const seen: unknown[] = [];
    const authorize: NonNullable<SystemOptions["authorize"]> = (principal, operation) => {
      seen.push(operation);
      return principal.subject === "ann" ? true : (undefined as unknown as boolean);
    };
    await withSystem({ authenticate, authorize }, async ({ ask, service }) => {
      assert.equal((await ask("POST", touch, as("ann"))).status, 200);
      const refused = await ask("POST", touch, as("bob"));
      assert.deepEqual([refused.status, codeOf(refused)], [403, "forbidden"]);
      assert.equal(service.callCount, 1);
      assert.deepEqual(seen[0], { action: "command", kind: "account", id: "a", name: "touch" });
    });
  });

  const broken: readonly [what: string, options: SystemOptions][] = [
    ["authenticate throws", { authenticate: () => Promise.reject(new Error("secret")) }],
    ["authenticate throws no error", { authenticate: () => Promise.reject("secret") }],
    ["authenticate returns no principal", { authenticate: () => ({ subject: "secret" }) as never }],
    [
      "authenticate returns a tenant that is no name",
      { authenticate: () => ({ tenant: "te\u0165\u0000", subject: "secret", scopes: [] }) },
    ],
    [
      "authorize throws",
      {
        authenticate,
        authorize: () => {
          throw new TypeError("secret");
        },
      },
    ],
  ];
  for (const [what, options] of broken) {
    test(`when ${what}, the caller gets internal and the trace the cause`, async () => {
      await withSystem(options, async ({ ask, service, host }) => {
        const reply = await ask("POST", touch, as("ann"));
        assert.deepEqual([reply.status, codeOf(reply)], [500, "internal"]);
        assert.doesNotMatch(reply.body, /secret/);
        assert.equal(host.traced.at(-1)!.level, "error");
        assert.equal(service.callCount, 0);
      });
    });
  }

  for (const [what, options] of [
    ["authenticate", { authenticate: () => new Promise<never>(() => undefined) }],
    ["authorize", { authenticate, authorize: () => new Promise<never>(() => undefined) }],
  ] as readonly [string, SystemOptions][]) {
    test(`${what} that never answers is bounded by the deadline, and the request is safe to repeat`, async () => {
      await withSystem(options, async ({ ask, service }) => {
        const reply = await ask("POST", touch, { ...as("ann"), "onefold-deadline-ms": "50" });
        assert.deepEqual([reply.status, codeOf(reply)], [504, "deadline-passed"]);
        assert.equal((JSON.parse(reply.body) as { retry: string }).retry, "safe");
        assert.equal(service.callCount, 0);
      });
    });
  }
});
