/** What a node says of itself: alive, ready, and what runs here. */
import { OnefoldError } from "../base/errors.ts";
import type { SystemDefinition } from "../entity/definition.ts";
import { jsonAnswer } from "./answer.ts";
import type { OperationHandler } from "./operations.ts";

/** `GET /healthz`: 200 while the process can go on at all; 503 `stopped` when only a restart helps. */
export const liveness: OperationHandler = async ({ service }) => {
  const { state, problems } = service.health();
  if (state === "stopped") {
    throw new OnefoldError("not-ready", "The node has stopped. Restart it.", { details: { state, problems } });
  }
  return jsonAnswer(JSON.stringify({ state }));
};

/** `GET /readyz`: 200 when calls are served, with the log's progress; 503 with the problems when not. */
export const readiness: OperationHandler = async ({ service, isDraining }) => {
  const health = service.health();
  const state = isDraining() && health.state === "ready" ? "draining" : health.state;
  if (state !== "ready") {
    const problems = health.problems.length === 0 ? [`the node is ${state}`] : health.problems;
    throw new OnefoldError("not-ready", `The node is ${state}.`, {
      details: { ...health, state, problems },
      retryAfterMs: 1000,
    });
  }
  return jsonAnswer(JSON.stringify(health));
};

/** `GET /`: a page for people that says what runs here and how to reach it. No scripts, nothing from elsewhere. */
export const frontPage: OperationHandler = async ({ service, system }) => ({
  status: 200,
  contentType: "text/html; charset=utf-8",
  body: renderFrontPage(system, service.health().state),
});

function renderFrontPage(system: SystemDefinition, state: string): string {
  const kinds = [...system.entities.values()].map((entity) => {
    const path = `/v1/entities/${entity.name}/{id}`;
    const lines = [
      ...[...entity.commands.keys()].map((name) => `POST ${path}/${name}`),
      ...[...entity.queries.keys()].map((name) => `GET ${path}/${name}`),
    ];
    return section(entity.name, lines);
  });
  const transactions = [...system.transactions.keys()].map((name) => `POST /v1/transactions/${name}`);
  const everything = [
    "GET /v1/entities/{kind}",
    "GET /v1/entities/{kind}/{id}",
    "DELETE /v1/entities/{kind}/{id}",
    "GET /v1/history/{kind}/{id}",
    "GET /v1/changes",
    "GET /v1/dead-letters",
    "POST /v1/call",
    "POST /v1/sessions",
    "GET /v1/cluster",
    "GET /openapi.json",
    "GET /metrics",
    "GET /healthz",
    "GET /readyz",
  ];
  const name = escapeHtml(system.name);
  return [
    `<!doctype html><html lang="en"><meta charset="utf-8"><title>${name} · Onefold</title>`,
    `<meta name="viewport" content="width=device-width">`,
    `<style>body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem}`,
    `li{font-family:ui-monospace,monospace;font-size:.9rem}</style>`,
    `<h1>${name}</h1><p>A Onefold system. This node is <strong>${escapeHtml(state)}</strong>.</p>`,
    ...kinds,
    transactions.length === 0 ? "" : section("Transactions", transactions),
    section("Everything else", everything),
    "</html>\n",
  ].join("\n");
}

function section(title: string, lines: readonly string[]): string {
  const items = lines.map((line) => `<li>${escapeHtml(line)}</li>`).join("");
  return `<h2>${escapeHtml(title)}</h2><ul>${items}</ul>`;
}

function escapeHtml(text: string): string {
  const entities: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
  return text.replaceAll(/[&<>"]/g, (character) => entities[character]!);
}
