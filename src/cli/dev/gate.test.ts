import assert from "node:assert/strict";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { once } from "node:events";
import { after, describe, test } from "node:test";
import { WebSocket, WebSocketServer } from "ws";
import { Gate, type GateLimits } from "./gate.ts";

type Handler = (request: IncomingMessage, response: ServerResponse, body: string) => void;

describe("the gate", () => {
  const gates: Gate[] = [];
  const servers: Server[] = [];
  after(async () => {
    for (const server of servers) server.close().closeAllConnections();
    await Promise.all(gates.map((gate) => gate.close(0)));
  });

  const newGate = async (limits: Partial<GateLimits> = {}): Promise<{ gate: Gate; url: string }> => {
    const gate = new Gate(limits);
    gates.push(gate);
    return { gate, url: `http://127.0.0.1:${await gate.listen("127.0.0.1", 0)}` };
  };
  const newBackend = async (handler: Handler): Promise<{ port: number; server: Server }> => {
    const server = createServer((request, response) => {
      let body = "";
      request.setEncoding("utf8");
      request.on("data", (text: string) => {
        body += text;
      });
      request.on("end", () => handler(request, response, body));
    });
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return { server, port: (server.address() as AddressInfo).port };
  };
  const codeOf = async (response: Response): Promise<unknown> => ((await response.json()) as { code: unknown }).code;

  test("passes a request and its answer through as they are", async () => {
    const { gate, url } = await newGate();
    const { port } = await newBackend((request, response, body) => {
      response.setHeader("Onefold-Sequence", "7");
      response.setHeader("Set-Cookie", ["a=1", "b=2"]);
      response.statusCode = 422;
      response.end(JSON.stringify([request.method, request.url, request.headers.host, request.headers["x-one"], body]));
    });
    gate.open(port);
    const path = "/v1/entities/account/a%2Fb%20c/deposit?x=%7B%7D";
    const response = await fetch(url + path, { method: "POST", headers: { "x-one": "1" }, body: '{"cents":5}' });
    assert.equal(response.status, 422);
    assert.equal(response.headers.get("onefold-sequence"), "7");
    assert.deepEqual(response.headers.getSetCookie(), ["a=1", "b=2"]);
    assert.deepEqual(await response.json(), ["POST", path, new URL(url).host, "1", '{"cents":5}']);
  });

  test("holds requests until there is somebody to answer them", async () => {
    const { gate, url } = await newGate();
    const { port } = await newBackend((_request, response) => response.end("late"));
    const answers = Promise.all(Array.from({ length: 20 }, async (_, i) => (await fetch(`${url}/${i}`)).text()));
    const early = await Promise.race([answers, new Promise((resolve) => setImmediate(resolve, "held"))]);
    assert.equal(early, "held");
    gate.open(port);
    assert.deepEqual(new Set(await answers), new Set(["late"]));
  });

  test("knows when nothing is with a worker any more", async () => {
    const { gate, url } = await newGate();
    let finish = (): void => assert.fail("the request has not arrived");
    let arrived = (): void => undefined;
    const arrival = new Promise<void>((resolve) => {
      arrived = resolve;
    });
    const { port } = await newBackend((_request, response) => {
      finish = () => response.end("done");
      arrived();
    });
    gate.open(port);
    const answer = fetch(url);
    await arrival;
    gate.hold();
    assert.equal(await gate.idle(20), 1);
    finish();
    assert.equal(await gate.idle(5000), 0);
    assert.equal(await (await answer).text(), "done");
  });

  test("does not count those who only wait for something to happen, and sends them on to the next worker", async () => {
    const { gate, url } = await newGate();
    let arrived: (() => void) | undefined;
    const waiting = new Promise<void>((resolve) => {
      arrived = resolve;
    });
    const old = await newBackend(() => arrived?.());
    gate.open(old.port);
    const answer = fetch(`${url}/v1/changes?after=7&waitMs=20000`);
    await waiting;
    gate.hold();
    assert.equal(await gate.idle(0), 0);
    old.server.closeAllConnections();
    const next = await newBackend((request, response) => response.end(request.url));
    gate.open(next.port);
    assert.equal(await (await answer).text(), "/v1/changes?after=7&waitMs=20000");
  });

  test("has a WebSocket wait for a worker, carries it both ways, and ends it with its worker", async () => {
    const { gate, url } = await newGate();
    const socket = new WebSocket(`${url.replace("http", "ws")}/v1/socket?a=1`, "echo.v1", {
      headers: { "x-one": "1" },
    });
    const { port, server } = await newBackend((_request, response) => response.end());
    const sockets = new WebSocketServer({ server });
    let seen: unknown;
    sockets.on("connection", (accepted, request) => {
      seen = [request.url, request.headers["x-one"], accepted.protocol];
      accepted.on("message", (data) => accepted.send(data));
    });
    gate.open(port);
    await once(socket, "open");
    assert.deepEqual(seen, ["/v1/socket?a=1", "1", "echo.v1"]);
    const large = Buffer.alloc(300_000, 7);
    socket.send(large);
    const [echoed] = (await once(socket, "message")) as [Buffer];
    assert.ok(echoed.equals(large));
    for (const accepted of sockets.clients) accepted.close(1001, "leaving");
    const [code, reason] = (await once(socket, "close")) as [number, Buffer];
    assert.deepEqual([code, reason.toString()], [1001, "leaving"]);
  });

  test("turns WebSockets away that no worker came for, and ends those that are open when it closes", async () => {
    const { gate, url } = await newGate({ heldMs: 20 });
    const held = new WebSocket(url.replace("http", "ws"));
    const [, refusal] = (await once(held, "unexpected-response")) as [unknown, IncomingMessage];
    assert.deepEqual([refusal.statusCode, refusal.headers["retry-after"]], [503, "1"]);
    held.on("error", () => held.terminate()).terminate();
    const { port, server } = await newBackend((_request, response) => response.end());
    const sockets = new WebSocketServer({ server });
    gate.open(port);
    const socket = new WebSocket(url.replace("http", "ws"));
    await once(socket, "open");
    const closed = once(socket, "close");
    await gate.close(1000);
    assert.equal((await closed)[0], 1006);
    sockets.close();
  });

  test("sends a request to the next worker where the last one certainly did not see it", async () => {
    const { gate, url } = await newGate();
    const dead = await newBackend(() => assert.fail("it does not listen"));
    await new Promise((resolve) => dead.server.close(resolve));
    gate.open(dead.port);
    const answer = fetch(url, { method: "POST", body: "1" });
    const { port } = await newBackend((_request, response, body) => response.end(`alive ${body}`));
    gate.open(port);
    const response = await Promise.race([answer, openAgainAndAgain(gate, port, answer)]);
    assert.equal(await response.text(), "alive 1");
  });

  test("repeats only reads and keyed requests after a worker died with them", async () => {
    const { gate, url } = await newGate();
    let dying = true;
    const { port } = await newBackend((request, response) => {
      if (dying) request.socket.destroy();
      else response.end("alive");
    });
    gate.open(port);
    const lost = await fetch(url, { method: "POST", body: "1" });
    assert.equal(lost.status, 503);
    assert.equal(await codeOf(lost), "outcome-unknown");
    gate.open(port);
    const read = fetch(url);
    const keyed = fetch(url, { method: "POST", body: "1", headers: { "Idempotency-Key": "k" } });
    dying = false;
    const both = Promise.all([read, keyed]);
    const answers = await Promise.race([both, openAgainAndAgain(gate, port, both)]);
    assert.deepEqual(await Promise.all(answers.map((answer) => answer.text())), ["alive", "alive"]);
  });

  test("does not hold requests for ever, nor more of them than it may", async () => {
    const { url } = await newGate({ heldMs: 30, heldBytesMax: 1000 });
    const late = await fetch(url);
    assert.equal(late.status, 503);
    assert.equal(late.headers.get("retry-after"), "1");
    assert.equal(await codeOf(late), "not-ready");
    const big = await fetch(url, { method: "POST", body: "x".repeat(2000) });
    assert.equal(await codeOf(big), "overloaded");
    const huge = await fetch(url, { method: "POST", body: "x".repeat(1024 * 1024 + 1) });
    assert.ok(huge.status === 503 || huge.status === 413);
  });

  test("outlives clients that go away while they wait or send", async () => {
    const { gate, url } = await newGate();
    const port = Number(new URL(url).port);
    const leaver = connect(port, "127.0.0.1");
    leaver.end("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nshort");
    await new Promise((resolve) => leaver.on("close", resolve).resume());
    const aborted = AbortSignal.timeout(30);
    await assert.rejects(fetch(url, { signal: aborted }));
    const backend = await newBackend((_request, response) => response.end("still here"));
    gate.open(backend.port);
    assert.equal(await (await fetch(url)).text(), "still here");
  });

  test("goes on with a worker after a client left in the middle of a request", async () => {
    const { gate, url } = await newGate();
    let leave = (): void => undefined;
    const { port } = await newBackend((request, response) => {
      if (request.url === "/slow") leave();
      else response.end("quick");
    });
    gate.open(port);
    const leaving = new AbortController();
    leave = () => leaving.abort();
    await assert.rejects(fetch(`${url}/slow`, { signal: leaving.signal }));
    assert.equal(await gate.idle(5000), 0);
    assert.equal(await (await fetch(url)).text(), "quick");
  });
});

/** A gate stops sending to a worker that failed it; whoever replaces workers opens it again. */
async function openAgainAndAgain<T>(gate: Gate, port: number, until: Promise<T>): Promise<T> {
  let done = false;
  const settled = until.finally(() => {
    done = true;
  });
  const turn = (): void => {
    if (done) return;
    gate.open(port);
    setImmediate(turn);
  };
  turn();
  return await settled;
}
