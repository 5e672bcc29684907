import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { bankSystem, testHost } from "./bank.fake.ts";
import { createGateway, type Gateway } from "./gateway.ts";
import { MetricsPage, RequestMeters } from "./metrics.ts";
import { parsePrometheusText } from "./prometheus-text.fixture.ts";
import { FakeService } from "./service.fake.ts";

describe("the metrics page", () => {
  test("shares one reading among scrapes that overlap", async () => {
    let readings = 0;
    const read = async () => [{ value: ++readings }];
    const page = new MetricsPage({ metrics: [{ type: "gauge", name: "x", help: "h", read }] }, testHost().trace);
    const texts = await Promise.all([page.text(), page.text(), page.text()]);
    assert.equal(readings, 1);
    assert.deepEqual(new Set(texts).size, 1);
    await page.text();
    assert.equal(readings, 2);
  });

  test("leaves out a metric that can't be read, and reports it", async () => {
    const host = testHost();
    const broken = {
      type: "gauge",
      name: "broken",
      help: "h",
      read: () => {
        throw new Error("no");
      },
    } as const;
    const whole = { type: "counter", name: "whole_total", help: "h", read: () => [{ value: 3 }] } as const;
    const families = parsePrometheusText(await new MetricsPage({ metrics: [broken, whole] }, host.trace).text());
    assert.equal(families.get("broken")!.samples.size, 0);
    assert.equal(families.get("whole_total")!.samples.get("whole_total"), 3);
    assert.deepEqual(
      host.traced.map(({ level, fields }) => [level, fields?.metric]),
      [["warn", "broken"]],
    );
  });

  test("escapes what stands in labels and help", async () => {
    const metric = {
      type: "gauge",
      name: "odd",
      help: "two\nlines",
      read: () => [{ labels: { name: 'a"b\\c\nd' }, value: 1 }],
    } as const;
    const text = await new MetricsPage({ metrics: [metric] }, testHost().trace).text();
    parsePrometheusText(text);
    assert.match(text, /odd\{name="a\\"b\\\\c\\nd"\} 1/);
  });

  test("joins the process's metrics to the node's", async () => {
    const processText = async () => "# HELP p h\n# TYPE p gauge\np 1\n";
    const own = { type: "gauge", name: "own", help: "h", read: () => [{ value: 2 }] } as const;
    const text = await new MetricsPage({ metrics: [own], processText }, testHost().trace).text();
    assert.deepEqual([...parsePrometheusText(text).keys()], ["own", "p"]);
  });
});

describe("the meters of requests", () => {
  test("know only the routes that there are, and the usual methods", () => {
    const meters = new RequestMeters(["/a/:id"]);
    meters.note("/a/:id", "GET", 200, 1);
    meters.note("/a/:id", "GET", 200, undefined);
    meters.note("/made-up", "BREW", 404, 1);
    meters.note(undefined, "GET", 404, 1);
    const [requests, durations] = meters.metrics;
    assert.deepEqual(requests!.read(), [
      { labels: { route: "/a/:id", method: "GET", status: "200" }, value: 2 },
      { labels: { route: "none", method: "other", status: "404" }, value: 1 },
      { labels: { route: "none", method: "GET", status: "404" }, value: 1 },
    ]);
    assert.equal((durations!.read() as readonly unknown[]).length, 2);
  });
});

describe("GET /metrics", () => {
  const system = bankSystem();
  let gateway: Gateway;

  before(async () => {
    const source = { metrics: [{ type: "gauge", name: "given", help: "h", read: () => [{ value: 7 }] } as const] };
    const options = { service: new FakeService(system), system, host: testHost(), metrics: source };
    gateway = await createGateway({ ...options, address: { hostname: "127.0.0.1", port: 0 } });
    await gateway.listen();
  });
  after(() => gateway.close());

  test("without authenticate is open on loopback, as text of the Prometheus format", async () => {
    await fetch(`${gateway.url}/v1/entities/account/alice/balance`);
    await fetch(`${gateway.url}/v1/entities/account/alice/nothing`);
    await fetch(`${gateway.url}/nowhere`);
    const response = await fetch(`${gateway.url}/metrics`);
    assert.equal(response.status, 200);
    assert.equal(response.headers.get("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    const families = parsePrometheusText(await response.text());
    assert.equal(families.get("given")!.samples.get("given"), 7);
    const { samples } = families.get("onefold_http_requests_total")!;
    const route = "/v1/entities/:kind/:id/:query";
    const query = (status: number) => `onefold_http_requests_total{route="${route}",method="GET",status="${status}"}`;
    assert.equal(samples.get(query(200)), 1);
    assert.equal(samples.get(query(404)), 1);
    assert.equal(samples.get('onefold_http_requests_total{route="none",method="GET",status="404"}'), 1);
    assert.ok(families.get("onefold_connections")!.samples.get('onefold_connections{transport="http"}')! >= 1);
  });

  test("is as strict with query parameters as every other route", async () => {
    for (const path of ["/metrics", "/openapi.json"]) {
      assert.equal((await fetch(`${gateway.url}${path}?x=1`)).status, 400);
    }
  });

  test("with authenticate needs the scope metrics or inspect, and gives nothing else to who has metrics", async () => {
    const authenticate = ({ headers }: { readonly headers: Readonly<Record<string, string | undefined>> }) =>
      headers.authorization === undefined
        ? null
        : { tenant: "t", subject: "s", scopes: headers.authorization.split(" ").slice(1) };
    const guarded = bankSystem({ authenticate });
    const other = await createGateway({
      service: new FakeService(guarded),
      system: guarded,
      host: testHost(),
      address: { hostname: "127.0.0.1", port: 0 },
    });
    await other.listen();
    try {
      const status = async (path: string, scopes?: string): Promise<number> =>
        (await fetch(other.url + path, scopes === undefined ? {} : { headers: { authorization: `Bearer ${scopes}` } }))
          .status;
      assert.equal(await status("/metrics"), 401);
      assert.equal(await status("/metrics", "other"), 403);
      assert.equal(await status("/metrics", "metrics"), 200);
      assert.equal(await status("/metrics", "inspect"), 200);
      assert.equal(await status("/metrics", "*"), 200);
      assert.equal(await status("/v1/entities/account/alice", "metrics"), 403);
      assert.equal(await status("/openapi.json"), 401);
      assert.equal(await status("/openapi.json", "other"), 200);
    } finally {
      await other.close();
    }
  });

  test("is answered when the node has as many requests as it accepts", async () => {
    const service = new FakeService(system);
    const full = await createGateway({
      service,
      system,
      host: testHost(),
      limits: { requestsOpenMax: 1 },
      address: { hostname: "127.0.0.1", port: 0 },
    });
    await full.listen();
    const release = service.hold();
    try {
      const waiting = fetch(`${full.url}/v1/entities/account/alice/balance`);
      const isFull = async (): Promise<boolean> =>
        (await fetch(`${full.url}/v1/entities/account/bob/balance`, { headers: { "onefold-deadline-ms": "1" } }))
          .status === 503;
      // The first request has arrived when a second one is refused; before that the second one would be held.
      while (service.callCount === 0) await new Promise((resolve) => setImmediate(resolve));
      assert.equal(await isFull(), true);
      const response = await fetch(`${full.url}/metrics`);
      assert.equal(response.status, 200);
      const { samples } = parsePrometheusText(await response.text()).get("onefold_http_requests_open")!;
      assert.equal(samples.get("onefold_http_requests_open"), 2);
      release();
      assert.equal((await waiting).status, 200);
    } finally {
      release();
      await full.close();
    }
  });
});
