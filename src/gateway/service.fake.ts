/**
 * A `Service` in memory, for tests of the gateway: it really runs a system's commands, queries and transactions, one after
 * the other, with rollback, repeated requests and history; nothing is durable and there are no collections, sends or timers.
 * Tests may hold its answers back (`hold`) or make it fail (`failWith`).
 */
import { OnefoldError } from "../base/errors.ts";
import type { Value } from "../base/value.ts";
import type { EntityDefinition, EntityHandle, Schema, SystemDefinition } from "../entity/definition.ts";
import type {
  CallOptions,
  CallReply,
  ChangesOptions,
  ChangesReply,
  DeadLetterItem,
  DeadLettersReply,
  EntityAddress,
  Health,
  HistoryItem,
  HistoryReply,
  ListReply,
  Principal,
  QueryReply,
  ReadOptions,
  Service,
  StateReply,
  Watch,
} from "../entity/service.ts";
import { type Settle, settleBy } from "../entity/settle.ts";

interface FakeEntity {
  generation: number;
  version: number;
  state: Value | undefined;
  readonly history: HistoryItem[];
}

export class FakeService implements Service {
  readonly #system: SystemDefinition;
  #entities = new Map<string, FakeEntity>();
  readonly #answered = new Map<string, CallReply>();
  #sequence = 0;
  #sessionCount = 0;
  #released: Promise<void> | undefined;
  #release: (() => void) | undefined;
  readonly #watches = new Set<{ readonly key: string; readonly onChange: () => void }>();
  /** What is answered as dead letters. */
  letters: readonly DeadLetterItem[] = [];
  /** Calls that have arrived, held ones too. */
  callCount = 0;
  /** The options of the last call or read. */
  lastOptions: CallOptions | ReadOptions | undefined;
  /** Thrown by whatever is asked next, until it is undefined again. */
  failWith: unknown;
  healthNow: Health = {
    state: "ready",
    sequence: 0,
    appliedSequence: 0,
    queuedCalls: 0,
    problems: [],
  };

  constructor(system: SystemDefinition) {
    this.#system = system;
  }

  /** From now on nothing is answered until the returned function is called. */
  hold(): () => void {
    this.#released = new Promise((resolve) => {
      this.#release = resolve;
    });
    return () => {
      this.#release?.();
      this.#released = undefined;
    };
  }

  async command(address: EntityAddress, name: string, input: unknown, options: CallOptions): Promise<CallReply> {
    await this.#arrive(options);
    return this.#once(options, () => {
      const output = this.#run(address, name, input, options.principal, "call");
      const sequence = ++this.#sequence;
      this.#changed([keyOf(address)]);
      return { output, sequence };
    });
  }

  beginCommand(
    address: EntityAddress,
    name: string,
    input: unknown,
    options: CallOptions,
    settle: Settle<CallReply>,
  ): void {
    settleBy(this.command(address, name, input, options), settle);
  }

  beginTransaction(name: string, input: unknown, options: CallOptions, settle: Settle<CallReply>): void {
    settleBy(this.transaction(name, input, options), settle);
  }

  async transaction(name: string, input: unknown, options: CallOptions): Promise<CallReply> {
    await this.#arrive(options);
    const definition = this.#system.transactions.get(name);
    if (definition === undefined) throw new OnefoldError("unknown-transaction", `no ${name}`);
    const checked = validate(definition.input, input);
    const before = structuredClone(this.#entities);
    const tx = (entity: EntityHandle, id: string): object =>
      new Proxy(
        {},
        {
          get: (_target, method: string) => async (methodInput: unknown) =>
            this.#run({ kind: entity.definition.name, id }, method, methodInput, options.principal, "transaction"),
        },
      );
    try {
      const output = (await definition.run(tx as never, checked as never)) as Value | undefined;
      const sequence = ++this.#sequence;
      this.#changed([...this.#entities.keys()]);
      return { output, sequence };
    } catch (error) {
      this.#entities = before;
      throw error;
    }
  }

  async query(address: EntityAddress, name: string, input: unknown, options: ReadOptions): Promise<QueryReply> {
    await this.#arrive(options);
    const definition = this.#definition(address.kind);
    const query = definition.queries.get(name);
    if (query === undefined) throw new OnefoldError("unknown-query", `no ${name}`);
    const state = this.#entities.get(keyOf(address))?.state ?? definition.initial();
    const output = query.run(state as never, validate(query.input, input) as never, {} as never);
    return { output: output as Value | undefined, sequence: this.#sequence };
  }

  async state(address: EntityAddress, options: ReadOptions): Promise<StateReply> {
    await this.#arrive(options);
    const { state, generation, version } = this.#existing(address);
    const { schemaVersion } = this.#definition(address.kind);
    return { state, generation, version, schemaVersion, sequence: this.#sequence };
  }

  async delete(address: EntityAddress, options: CallOptions): Promise<CallReply> {
    await this.#arrive(options);
    const entity: FakeEntity = this.#existing(address);
    entity.state = undefined;
    const sequence = ++this.#sequence;
    this.#changed([keyOf(address)]);
    return { output: undefined, sequence };
  }

  async list(
    kind: string,
    options: ReadOptions & { readonly prefix?: string; readonly limit?: number; readonly cursor?: string },
  ): Promise<ListReply> {
    await this.#arrive(options);
    const { prefix = "", limit = 100, cursor } = options;
    const ids = [...this.#entities]
      .filter(([key, entity]) => entity.state !== undefined && key.startsWith(`${kind}/${prefix}`))
      .map(([key]) => key.slice(kind.length + 1))
      .filter((id) => cursor === undefined || id > cursor)
      .sort();
    const more = ids.length > limit;
    return { ids: ids.slice(0, limit), ...(more ? { cursor: ids[limit - 1]! } : {}) };
  }

  async history(address: EntityAddress, options: ReadOptions & { readonly limit?: number }): Promise<HistoryReply> {
    await this.#arrive(options);
    const { history } = this.#existing(address);
    return { items: history.toReversed().slice(0, options.limit), trimmed: false };
  }

  /** Those of the single command that each sequence is. Who would wait does so until told to leave. */
  async changes(options: ChangesOptions): Promise<ChangesReply> {
    await this.#arrive(options);
    const { after = String(this.#sequence), limit, waitMs = 0, signal } = options;
    const items = [...this.#entities]
      .flatMap(([key, { history }]) => {
        const [kind = "", ...id] = key.split("/");
        return history.map((item) => ({ kind, id: id.join("/"), ...item }));
      })
      .filter(({ kind, id, sequence }) => {
        const { kind: askedKind = kind, id: askedId = id } = options;
        return sequence > Number(after) && kind === askedKind && id === askedId;
      })
      .sort((a, b) => a.sequence - b.sequence)
      .slice(0, limit);
    if (items.length === 0 && waitMs > 0 && signal?.aborted === false) {
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
    }
    const next = items.length === limit ? items.at(-1)!.sequence : this.#sequence;
    return { items, next: String(next), log: "fa4e", trimmed: false };
  }

  async deadLetters(options: ReadOptions & { readonly kind?: string }): Promise<DeadLettersReply> {
    await this.#arrive(options);
    const items = this.letters.filter(({ kind }) => options.kind === undefined || kind === options.kind);
    return { items, removed: 0 };
  }

  /** How many listeners there are just now. */
  get watchCount(): number {
    return this.#watches.size;
  }

  watch(_tenant: string, address: EntityAddress, onChange: () => void): Watch {
    const watch = { key: keyOf(address), onChange };
    this.#watches.add(watch);
    return { log: "fa4e", cancel: () => this.#watches.delete(watch) };
  }

  #changed(keys: readonly string[]): void {
    for (const { key, onChange } of [...this.#watches]) if (keys.includes(key)) onChange();
  }

  mintSession(principal: Principal): string {
    return `${principal.subject}.${++this.#sessionCount}`;
  }

  health(): Health {
    return this.healthNow;
  }

  async #arrive(options: CallOptions | ReadOptions): Promise<void> {
    this.callCount++;
    this.lastOptions = options;
    await this.#released;
    if (this.failWith !== undefined) throw this.failWith;
  }

  #once(options: CallOptions, run: () => CallReply): CallReply {
    const { session, idempotencyKey } = options;
    const key = session === undefined ? idempotencyKey : `${session.token} ${session.number}`;
    const earlier = key === undefined ? undefined : this.#answered.get(key);
    if (earlier !== undefined) return earlier;
    const reply = run();
    if (key !== undefined) this.#answered.set(key, reply);
    return reply;
  }

  #run(
    address: EntityAddress,
    name: string,
    input: unknown,
    principal: Principal,
    by: HistoryItem["by"],
  ): Value | undefined {
    const definition = this.#definition(address.kind);
    const command = definition.commands.get(name);
    if (command === undefined) throw new OnefoldError("unknown-command", `no ${name}`);
    const entity = this.#entities.get(keyOf(address)) ?? { generation: 0, version: 0, state: undefined, history: [] };
    const draft = structuredClone(entity.state ?? definition.initial());
    const checked = validate(command.input, input);
    const output = command.run(draft as never, checked as never, {} as never) as Value | undefined;
    if (entity.state === undefined) {
      entity.generation++;
      entity.version = 0;
    }
    entity.state = draft;
    entity.version++;
    const { generation, version } = entity;
    entity.history.push({
      sequence: this.#sequence + 1,
      timeMs: 0,
      generation,
      version,
      command: name,
      by,
      subject: principal.subject,
      state: draft,
      itemCount: 0,
    });
    this.#entities.set(keyOf(address), entity);
    return output;
  }

  #existing(address: EntityAddress): FakeEntity & { state: Value } {
    const entity = this.#entities.get(keyOf(address));
    if (entity?.state === undefined) throw new OnefoldError("not-found", `There is no ${keyOf(address)}.`);
    return entity as FakeEntity & { state: Value };
  }

  #definition(kind: string): EntityDefinition {
    const definition = this.#system.entities.get(kind);
    if (definition === undefined) throw new OnefoldError("unknown-kind", `no ${kind}`);
    return definition;
  }
}

function keyOf({ kind, id }: EntityAddress): string {
  return `${kind}/${id}`;
}

function validate(schema: Schema | undefined, input: unknown): unknown {
  if (schema === undefined) {
    if (input === undefined) return undefined;
    throw new OnefoldError("invalid-input", "This takes no input.", { details: { issues: [] } });
  }
  const result = schema["~standard"].validate(input);
  if (result instanceof Promise) throw new OnefoldError("invalid-definition", "asynchronous schema");
  if (result.issues === undefined) return result.value;
  const issues = result.issues.map(({ message, path = [] }) => ({
    message,
    path: path.map((part) => String(typeof part === "object" ? part.key : part)),
  }));
  throw new OnefoldError("invalid-input", "The input does not match its schema.", { details: { issues } });
}
