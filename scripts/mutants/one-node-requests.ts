/** Mutants that the simulation of one node finds: what waits for newer code, sessions, requests, migrations, histories. */
import type { Mutant } from "./mutant.ts";

export const oneNodeRequests: readonly Mutant[] = [
  {
    name: "a message to an entity of newer code is a dead letter",
    breaks: ["hazard 22"],
    edits: [
      {
        file: "src/entity/delivery.ts",
        from: "  return isOutOfReach(entity) || core.mailroom.deadLetters.isWaitedFor(entity.name);",
        to: "  return core.mailroom.deadLetters.isWaitedFor(entity.name);",
      },
    ],
    trial: {
      kind: "program",
    },
  },
  {
    name: "messages overtake those that waited for newer code",
    breaks: ["hazard 22"],
    edits: [
      {
        file: "src/entity/delivery.ts",
        from: "  return isOutOfReach(entity) || core.mailroom.deadLetters.isWaitedFor(entity.name);",
        to: "  return isOutOfReach(entity);",
      },
    ],
    trial: {
      kind: "program",
    },
  },
  {
    name: "a message that waited is delivered and stays",
    breaks: ["D3"],
    edits: [
      {
        file: "src/entity/delivery.ts",
        from: "      expired: [{ expiresMs: 0, key: this.#letter.key }],",
        to: "      expired: [],",
      },
    ],
    trial: {
      kind: "program",
    },
  },
  {
    name: "a timer of an entity of newer code is a dead letter",
    breaks: ["hazard 22"],
    edits: [
      {
        file: "src/entity/alarm-clock.ts",
        from: "    if (isOutOfReach(entity)) {",
        to: "    if (isOutOfReach(entity) && entity.state === null) {",
      },
    ],
    trial: {
      kind: "program",
    },
  },
  {
    name: "dead letters are kept for ever",
    breaks: ["hazard 19"],
    edits: [
      {
        file: "src/entity/dead-letters.ts",
        from: "    if (letter.waits) return [];",
        to: "    if (letter.kind !== undefined) return [];",
      },
    ],
    trial: {
      kind: "program",
    },
  },
  {
    name: "what a dropped batch did to the dead letters is remembered",
    breaks: ["hazard 6"],
    edits: [
      {
        file: "src/entity/dead-letters.ts",
        from: "    this.#speculative = this.#durable.copy();\n  }\n\n  #removed",
        to: "  }\n\n  #removed",
      },
    ],
    trial: { kind: "tests", files: ["src/entity/dead-letters.test.ts"] },
  },
  {
    name: "timers beyond the window are forgotten",
    breaks: ["A2"],
    edits: [
      {
        file: "src/entity/alarm-clock.ts",
        from: "    this.#horizon = count < this.#windowMax ? undefined : last;",
        to: "    this.#horizon = count >= 0 ? undefined : last;",
      },
    ],
    trial: {
      kind: "program",
    },
  },
  {
    name: "requests of an ended session run again",
    breaks: ["hazard 14"],
    edits: [
      {
        file: "src/entity/session-tokens.ts",
        from: "    if (session.expiresMs <= nowMs || ",
        to: "    if (",
      },
      {
        file: "src/entity/requests.ts",
        from: "      if (request.expiresMs <= nowMs) throw",
        to: "      if (request.expiresMs < 0) throw",
      },
    ],
    trial: {
      kind: "program",
    },
  },
  {
    name: "a session that is loaded forgets what was acknowledged",
    breaks: ["hazard 14"],
    edits: [
      {
        file: "src/entity/live-sessions.ts",
        from: "    for (const { row } of rows) session.#lowest = Math.max(session.#lowest, row.lowest);",
        to: "",
      },
    ],
    trial: {
      kind: "program",
    },
  },
  {
    name: "the place of an outcome that is not acknowledged is used again",
    breaks: ["hazard 14", "design 6: no contiguous watermark"],
    edits: [
      {
        file: "src/entity/live-sessions.ts",
        from: "return first !== undefined && first.number < lowest ? first.place : this.#placeCount;",
        to: "return first !== undefined && first.number <= lowest ? first.place : this.#placeCount;",
      },
    ],
    trial: {
      kind: "program",
    },
  },
  {
    name: "a request whose answer was acknowledged runs again",
    breaks: ["hazard 14"],
    edits: [
      {
        file: "src/entity/requests.ts",
        from: "      if (request.number < session.lowest) {",
        to: "      if (request.number < 0) {",
      },
    ],
    trial: {
      kind: "program",
    },
  },
  {
    name: "an append whose outcome is unknown counts as done",
    breaks: ["hazard 3", "M2"],
    edits: [
      {
        file: "src/entity/committer.ts",
        from: "      if (isKnown(outcome, { isInDoubt })) return outcome;",
        to: '      if (outcome.kind === "unknown") return { kind: "appended" };\n      if (isKnown(outcome, { isInDoubt })) return outcome;',
      },
    ],
    trial: {
      kind: "program",
    },
  },
  {
    name: "a migration loses the fields that it does not know",
    breaks: ["hazard 22"],
    edits: [
      {
        file: "src/entity/migration.ts",
        from: "    const untouched = listed ? [] : Object.entries(state).filter(([key]) => !touched.has(key));",
        to: "    const untouched = listed ? [] : Object.entries(state).filter(([key]) => touched.has(key) && key === '');",
      },
    ],
    trial: {
      kind: "program",
    },
  },
  {
    name: "a page of a history begins one item late",
    breaks: ["the fold"],
    edits: [
      {
        file: "src/entity/history.ts",
        from: "{index + 1}`",
        to: "{index}`",
      },
    ],
    trial: {
      kind: "program",
    },
  },
];
