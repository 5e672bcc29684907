/** Cluster mutants: what crosses shards, and what a new owner must know of it. */
import type { Mutant } from "./mutant.ts";

export const crossing: readonly Mutant[] = [
  {
    name: "a participant says yes before that is durable",
    breaks: ["hazard 11", "PP1"],
    edits: [
      {
        file: "src/transaction/participants.ts",
        from: "    return inTurn(this.#core, () => this.#prepare(question));",
        to: "    const said = this.#prepare(question);\n    this.#core.executor.commitSoon();\n    return Promise.resolve(said.value);",
      },
    ],
    trial: { kind: "cluster", regime: "crashes" },
  },
  {
    name: "presumed commit: a home that knows nothing of a transaction says that it is committed",
    breaks: ["hazard 11", "AT1", "design 8: presumed abort"],
    edits: [
      {
        file: "src/transaction/attempts.ts",
        from: '    if (decision === undefined) return "abort";',
        to: '    if (decision === undefined) return "commit";',
      },
    ],
    trial: { kind: "cluster", regime: "crashes and losses" },
  },
  {
    name: "a home says of a transaction that is under way that it is aborted",
    breaks: ["hazard 11", "AT1"],
    edits: [{ file: "src/transaction/attempts.ts", from: '    if (this.#open.has(id)) return "wait";', to: "" }],
    trial: {
      kind: "tests",
      files: ["src/transaction/crossing.test.ts", "src/transaction/crossing-simulation.test.ts"],
    },
  },
  {
    name: "what is prepared holds no locks under a new owner",
    breaks: ["hazard 11", "PP2", "design 8: a lock forgotten at an owner change"],
    edits: [
      {
        file: "src/transaction/participants.ts",
        from: "    for (const prepared of this.#core.working.transactions.allPrepared()) {",
        to: "    for (const prepared of [...this.#core.working.transactions.allPrepared()].map((each) => ({ ...each, part: { ...each.part, locks: [] } }))) {",
      },
    ],
    trial: { kind: "cluster", regime: "crashes and losses" },
  },
  {
    name: "a read lock is forgotten at an owner change, and a participant that has forgotten votes yes",
    breaks: ["hazard 11", "PP1", "design 8: votes in the epoch that granted its locks, read-only ones too"],
    edits: [
      {
        file: "src/transaction/participants.ts",
        from: "    if (participant === undefined || !participant.isMeant(question) || !participant.canPrepare(question)) return no;",
        to: "    if (participant === undefined) return yes(0);\n    if (!participant.isMeant(question) || !participant.canPrepare(question)) return no;",
      },
    ],
    trial: { kind: "cluster", regime: "crashes and losses" },
  },
  {
    name: "an outcome is acknowledged before it is durable",
    breaks: ["hazard 11", "PP3"],
    edits: [
      {
        file: "src/transaction/participants.ts",
        from: "    return inTurn(this.#core, () => ({ value: null, sequence: this.#end(slot, id, isCommit) }));",
        to: "    this.#end(slot, id, isCommit);\n    this.#core.executor.commitSoon();\n    return Promise.resolve(null);",
      },
    ],
    trial: {
      kind: "tests",
      files: ["src/transaction/crossing.test.ts", "src/transaction/crossing-simulation.test.ts"],
    },
  },
  {
    name: "what is prepared is aborted where its home can't be reached",
    breaks: ["hazard 11", "IN2"],
    edits: [
      {
        file: "src/transaction/inquiries.ts",
        from: "    else if (!inquirer.isPrepared && host.clock",
        to: "    else if (host.clock",
      },
    ],
    trial: {
      kind: "tests",
      files: ["src/transaction/crossing.test.ts", "src/transaction/crossing-simulation.test.ts"],
    },
  },
  {
    name: "a no counts as a yes",
    breaks: ["hazard 11", "TW1"],
    edits: [
      {
        file: "src/transaction/attempt.ts",
        from: "isYes: answer?.isYes === true });",
        to: "isYes: answer !== undefined });",
      },
    ],
    trial: { kind: "cluster", regime: "crashes and losses" },
  },
  {
    name: "a decision is forgotten as soon as it is told",
    breaks: ["hazard 11", "DT2"],
    edits: [
      {
        file: "src/transaction/decision-teller.ts",
        from: "      void this.#tellOne(id, participant).then((isDone) => {\n        if (isDone && --missing === 0) this.#forget([id]);\n      });",
        to: "      void this.#tellOne(id, participant);\n      if (--missing === 0) this.#forget([id]);",
      },
    ],
    trial: { kind: "cluster", regime: "crashes and losses" },
  },
  {
    name: "a decision leaves its participants out",
    breaks: ["hazard 11", "T6"],
    edits: [
      {
        file: "src/transaction/ending.ts",
        from: "isAlone ? draft : { ...draft, transaction: attempt.decision }",
        to: "draft.effects !== undefined ? draft : { ...draft, transaction: attempt!.decision }",
      },
    ],
    trial: { kind: "cluster", regime: "calm" },
  },
  {
    name: "a transaction's effects at another shard are left out of its outcome",
    breaks: ["hazard 11", "T1"],
    edits: [
      {
        file: "src/transaction/participants.ts",
        from: "        ...(isCommit ? { effects: part.effects, messages: part.messages } : {}),",
        to: "        ...(isCommit ? { messages: part.messages } : {}),",
      },
    ],
    trial: { kind: "cluster", regime: "calm" },
  },
  {
    name: "the effects of what was aborted take hold at another shard",
    breaks: ["hazard 11", "TW3"],
    edits: [
      {
        file: "src/transaction/participants.ts",
        from: "        ...(isCommit ? { effects: part.effects, messages: part.messages } : {}),",
        to: "        ...{ effects: part.effects, messages: part.messages },",
      },
    ],
    trial: { kind: "cluster", regime: "crashes and losses" },
  },
  {
    name: "a step that is asked for again runs again",
    breaks: ["hazard 11", "PA1"],
    edits: [
      {
        file: "src/transaction/participant.ts",
        from: "    if (question.number === this.#steps) return this.#answer!;",
        to: "    if (question.number === this.#steps) return this.#run(question);",
      },
    ],
    trial: { kind: "cluster", regime: "cut peers" },
  },
  {
    name: "what is prepared gives way to an older transaction",
    breaks: ["hazard 12", "PP1", "design 8: a prepared transaction is waited for, never wounded"],
    edits: [
      {
        file: "src/transaction/prepared-locks.ts",
        from: "    // Nothing: its home alone can end it.",
        to: "    this.release();",
      },
    ],
    trial: { kind: "cluster", regime: "crowd" },
  },
  {
    name: "participants take no locks",
    breaks: ["hazard 11", "design 8: strict two-phase locking at the owners"],
    edits: [
      {
        file: "src/transaction/transaction.ts",
        from: "      if (!lock.acquire(this, mode, waiter)) return undefined;",
        to: "      lock.acquire(this, mode, waiter);",
      },
    ],
    trial: { kind: "cluster", regime: "calm" },
  },
  {
    name: "a younger transaction is not wounded",
    breaks: ["hazard 12", "K2", "design 8: wound-wait"],
    edits: [
      {
        file: "src/entity/locks.ts",
        from: "    this.#woundYounger(holder, mode);\n    if",
        to: "    if",
      },
    ],
    trial: { kind: "tests", files: ["src/entity/locks.test.ts"] },
  },
  {
    name: "a retry is as young as its attempt",
    breaks: ["hazard 12", "T3", "design 8: a retry keeps its first timestamp"],
    edits: [
      {
        file: "src/transaction/run.ts",
        from: "    const transaction = new Transaction(this.#core, { age: this.#age, caller, onEnd });",
        to: "    const transaction = new Transaction(this.#core, { age: this.#core.nextAge(), caller, onEnd });",
      },
    ],
    trial: { kind: "tests", files: ["src/transaction/contention.test.ts", "src/transaction/crossing.test.ts"] },
  },
  {
    name: "a receiver of messages answers before it has consumed them",
    breaks: ["hazard 13", "I2"],
    edits: [
      {
        file: "src/entity/incoming-mail.ts",
        from: "    return this.#answerOf(fromSlot * this.#core.limits.slotCount + toSlot, consumed, last);",
        to: "    return encodeConsumed(last);",
      },
    ],
    trial: { kind: "tests", files: ["src/entity/mail-between-shards.test.ts", "src/entity/mail-transcripts.test.ts"] },
  },
  {
    name: "the receiver's mark does not move in its store",
    breaks: ["hazard 13", "I1", "D1"],
    edits: [
      {
        file: "src/entity/fold.ts",
        from: "    writes.put(keys.inboxNumber(toSlot, fromSlot), packr.pack(number));",
        to: "",
      },
    ],
    trial: { kind: "cluster", regime: "moves" },
  },
  {
    name: "a new owner does not begin with what its outbox holds",
    breaks: ["hazard 13", "O1"],
    edits: [
      {
        file: "src/entity/mailroom.ts",
        from: "      this.#add(storedRecords.decodeMessage(value));",
        to: "      if (this.#outgoing === undefined) this.#add(storedRecords.decodeMessage(value));",
      },
    ],
    trial: { kind: "cluster", regime: "crashes and losses" },
  },
  {
    name: "a sender removes messages that nobody has acknowledged",
    breaks: ["hazard 13", "O3"],
    edits: [
      {
        file: "src/entity/outgoing-mail.ts",
        from: "      const through = Math.min(acknowledged, recorded + room);",
        to: "      const through = Math.min(lastNumber(pair), recorded + room);",
      },
    ],
    trial: { kind: "cluster", regime: "calm" },
  },
  {
    name: "a message that was refused is not asked for again",
    breaks: ["hazard 13", "O1"],
    edits: [
      {
        file: "src/entity/outgoing-mail.ts",
        from: "      if (this.#isStopped) return;\n      this.#goOn(pair);\n      this.send();\n    });",
        to: "    });",
      },
    ],
    trial: { kind: "cluster", regime: "cut peers" },
  },
  {
    name: "a new owner does not know the outcomes of requests",
    breaks: ["hazard 14", "G5"],
    edits: [
      {
        file: "src/entity/fold.ts",
        from: "  if (entry.result !== null) foldResult(entry.result, writes);",
        to: "",
      },
    ],
    trial: { kind: "cluster", regime: "crashes and losses" },
  },
  {
    name: "requests are not looked up before they run",
    breaks: ["hazard 14", "G5"],
    edits: [
      { file: "src/entity/command-call.ts", from: "      if (kept !== undefined) {", to: "      if (kept === null) {" },
    ],
    trial: { kind: "cluster", regime: "doubt" },
  },
  {
    name: "a new owner has no timers",
    breaks: ["A2", "design 5: a durable timer"],
    edits: [
      {
        file: "src/entity/alarm-clock.ts",
        from: '    this.#readBehind(keys.table("timerDue"));\n  }',
        to: "  }",
      },
    ],
    trial: { kind: "cluster", regime: "moves" },
  },
  {
    name: "strong reads don't wait for what is prepared",
    breaks: ["design 6: a read under an undecided transaction waits"],
    edits: [
      {
        file: "src/entity/read-call.ts",
        from: "      if (entity.lock?.isUndecided === true) {",
        to: "      if (entity.lock === null) {",
      },
    ],
    trial: { kind: "tests", files: ["src/transaction/crossing-simulation.test.ts"] },
  },
];
