/** A command, and a deletion, that a caller asked for. */
import { OnefoldError, type Refused } from "../base/errors.ts";
import type { Core, EntryDraft, KeptResult } from "./core.ts";
import type { CommandDefinition } from "./definition.ts";
import { EntityCommand } from "./entity-command.ts";
import { failureOf } from "./failure.ts";
import { isKept, type KeptOutcome, replyOf } from "./outcome.ts";
import type { RequestIdentity } from "./requests.ts";
import type { CommandResult } from "./run-command.ts";
import type { CallReply } from "./service.ts";
import type { Settle } from "./settle.ts";
import type { LiveEntity } from "./working-set.ts";

/** The command by which a caller with the `admin` scope ends an entity. It exists in no definition. */
export const deleteCommand: CommandDefinition = {
  name: "delete",
  input: undefined,
  run: ((_state: never, _input: never, context: { delete(): void }) => context.delete()) as CommandDefinition["run"],
};

type Settled = { readonly reply: CallReply } | { readonly error: Error };

export class CommandCall extends EntityCommand {
  readonly #settle: Settle<CallReply>;
  readonly #request: RequestIdentity | undefined;
  #outcome: Settled | undefined = undefined;

  constructor(
    parts: ConstructorParameters<typeof EntityCommand>[0] & {
      readonly request: RequestIdentity | undefined;
      readonly settle: Settle<CallReply>;
    },
  ) {
    super(parts);
    this.#request = parts.request;
    this.#settle = parts.settle;
  }

  get #isDeletion(): boolean {
    return this.command === deleteCommand;
  }

  protected override isDone(entity: LiveEntity): boolean {
    if (this.#request !== undefined) {
      const { requests, working, committer } = this.core;
      const kept = requests.find(this.#request, entity.slot, working, committer.timeMs);
      if (kept !== undefined) {
        this.#hold(replayed(kept.outcome), kept.sequence);
        return true;
      }
    }
    // One that a prepared transaction may have made: it waits for the lock like any command.
    if (this.#isDeletion && !entity.exists && entity.lock?.isUndecided !== true) {
      this.#hold({ error: notFound(entity) }, entity.lastSequence);
      return true;
    }
    return false;
  }

  protected override entryOf(result: CommandResult, entity: LiveEntity): EntryDraft {
    return {
      origin: this.#isDeletion ? "admin" : "call",
      command: this.command.name,
      subject: this.caller.subject,
      effects: this.effects(result, entity),
      messages: result.messages,
    };
  }

  protected override keptOf({ output, outputBytes }: CommandResult, { slot }: LiveEntity): KeptResult | undefined {
    if (this.#request === undefined) return undefined;
    return { request: this.#request, slot, outcome: { kind: "done", output }, outputBytes };
  }

  protected override succeeded({ output }: CommandResult, sequence: number): void {
    this.#hold({ reply: { output, sequence } }, sequence);
  }

  protected override failed(error: OnefoldError | Refused, sequence: number, entity: LiveEntity | undefined): void {
    // Where its entity can't be found, neither can what an earlier sending of it may have come to.
    if (this.#request !== undefined && entity === undefined && error instanceof OnefoldError) {
      const { code, message, details, cause } = error;
      return this.#hold({ error: new OnefoldError(code, message, { details, cause, retry: "unknown" }) }, sequence);
    }
    if (this.#request === undefined || entity === undefined || !isKept(error)) return this.#hold({ error }, sequence);
    const kept: KeptResult = {
      request: this.#request,
      slot: entity.slot,
      outcome: { kind: "failed", error },
      outputBytes: undefined,
    };
    const draft: EntryDraft = { origin: "call", command: this.command.name, subject: this.caller.subject };
    let entry: ReturnType<Core["entry"]>;
    try {
      entry = this.core.entry(draft, kept);
    } catch (unkeepable) {
      // A refusal whose details are no value: the caller is told so, and repeating it will tell him the same.
      return this.#hold({ error: failureOf(unkeepable, `${this.definition.name}.${this.command.name}`) }, sequence);
    }
    this.#hold({ error }, this.core.takeIn(entry));
  }

  #hold(outcome: Settled, sequence: number): void {
    this.#outcome = outcome;
    this.core.committer.hold(this, sequence);
  }

  override release(): void {
    if (this.isSettled) return;
    this.isSettled = true;
    const outcome = this.#outcome!;
    if ("reply" in outcome) this.#settle.resolve(outcome.reply);
    else this.#settle.reject(outcome.error);
  }

  protected override refuse(error: OnefoldError): void {
    this.isSettled = true;
    this.#settle.reject(error);
  }
}

/** A kept outcome as it is to be settled again. */
export function replayed(outcome: KeptOutcome): Settled {
  try {
    return { reply: replyOf(outcome) };
  } catch (error) {
    return { error: error as Error };
  }
}

export function notFound(entity: LiveEntity): OnefoldError {
  return new OnefoldError("not-found", `There is no ${entity.kind} '${entity.id}'.`);
}
