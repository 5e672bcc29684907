/**
 * The typed client, given life: methods are made when they are first used, so nothing of the system but its type is needed.
 *
 * CO1  A call's input is taken as it is when the call is made; what its owner does to it later changes nothing.
 */
import { OnefoldError } from "../base/errors.ts";
import type { Value } from "../base/value.ts";
import { toServer } from "../wire/protocol.ts";
import { Addresses } from "./addresses.ts";
import type { CallOptions, CallShape } from "./call.ts";
import { serverDeadlineMs } from "./call-writer.ts";
import { Dispatcher } from "./dispatcher.ts";
import { HttpLink } from "./http-link.ts";
import type { ClientPlatform } from "./platform.ts";
import type { Change, WatchOptions } from "./subscription.ts";
import { Subscriptions } from "./subscriptions.ts";
import { type WatchTarget, watchTarget } from "./watch-target.ts";
import type { ListOptions, PageOptions, RemoteClient, Watch } from "./types.ts";

export interface ConnectOptions {
  /** The system's name: a node that serves another one is then refused (`unknown-system`) rather than asked. */
  readonly system?: string;
  /** Credentials, sent as `Authorization: Bearer`: text, or what gives it before each connection. */
  readonly token?: string | (() => string | undefined | Promise<string | undefined>);
  /** Further headers; browsers can't send them with a socket. */
  readonly headers?: Readonly<Record<string, string>>;
  /** How long a call may take, retries included, where it names no deadline itself. Default 30,000 ms, at most 300,000. */
  readonly deadlineMs?: number;
  /**
   * True, the default: calls travel in a session with numbers, take hold once, and are sent again where their outcome is unknown. False:
   * they cost the server less, and where their outcome is unknown they reject with `outcome-unknown`.
   */
  readonly exactlyOnce?: boolean;
  /**
   * `auto`: a WebSocket, and HTTP for as long as none can be had. `socket`, `http`: only that; subscriptions over HTTP ask once a
   * second. Default `auto`.
   */
  readonly transport?: "auto" | "socket" | "http";
}

/** One address, or several of one cluster's nodes. */
export type ServerUrl = string | URL | readonly (string | URL)[];

/** A client on a platform. It connects when it is first used. Throws `TypeError` for what is no URL of HTTP, and for an empty list. */
export function connectOn<S>(platform: ClientPlatform, url: ServerUrl, options: ConnectOptions): RemoteClient<S> {
  const addresses = new Addresses(url, () => platform.random());
  const { transport = "auto", deadlineMs = serverDeadlineMs, headers = {}, system } = options;
  const token = tokenSource(options.token);
  const { openSocket } = platform;
  if (transport === "socket" && openSocket === undefined) throw new TypeError("there are no WebSockets here");
  const dispatcher = new Dispatcher({
    platform,
    deadlineMs,
    isExactlyOnce: options.exactlyOnce ?? true,
    socket:
      transport === "http" || openSocket === undefined
        ? undefined
        : { platform, openSocket, addresses, system, headers, token },
    http: transport === "socket" ? undefined : new HttpLink({ platform, addresses, headers, token }),
  });
  const subscriptions = new Subscriptions(dispatcher, platform);
  dispatcher.subscriptions = subscriptions;
  return clientOf(dispatcher, subscriptions) as unknown as RemoteClient<S>;
}

function tokenSource(token: ConnectOptions["token"]): () => Promise<string | undefined> {
  return async () => (typeof token === "function" ? token() : token);
}

type Method = (...parameters: never[]) => unknown;

/** Names that the language itself looks for: a promise must not take the client or an entity for another one. */
const notNames: ReadonlySet<string> = new Set(["then", "toJSON"]);

/**
 * An object whose methods are made by `make` when they are first asked for. They stand on a prototype, so that asking a second time
 * costs what any method costs.
 */
function withMethods(own: Readonly<Record<string, Method>>, make: (name: string) => Method): object {
  const methods: Record<string, unknown> = Object.create(
    new Proxy(Object.freeze(Object.create(null)), {
      get: (_target, name) => {
        if (typeof name !== "string" || notNames.has(name)) return undefined;
        const method = make(name);
        methods[name] = method;
        return method;
      },
    }),
  );
  return Object.assign(methods, own);
}

function clientOf(dispatcher: Dispatcher, subscriptions: Subscriptions): object {
  const transactions = new Map<string, CallShape>();
  const transaction = (name: string, input: Value | undefined, options: CallOptions | undefined) => {
    let shape = transactions.get(name);
    if (shape === undefined) {
      shape = { type: toServer.transaction, isRead: false };
      transactions.set(name, shape);
    }
    return dispatcher.call(shape, [name], input, options);
  };
  const close = () => dispatcher.close();
  const own = {
    $transaction: transaction,
    $close: close,
    $list: (kind: string, options: ListOptions = {}) => {
      const { prefix, limit, cursor, ...rest } = options;
      return dispatcher.call({ type: toServer.list, isRead: true }, [kind], undefined, rest, {
        prefix,
        limit,
        cursor,
      });
    },
  };
  return withMethods(own, (name) => {
    const entity = entityFactory(name, dispatcher, subscriptions);
    return (first?: unknown, options?: CallOptions) =>
      typeof first === "string" ? entity(first) : transaction(name, first as Value | undefined, options);
  });
}

function entityFactory(kind: string, dispatcher: Dispatcher, subscriptions: Subscriptions): (id: string) => object {
  /** Private, because any other property could hide a command of the same name. */
  class Entity {
    readonly #id: string;

    constructor(id: string) {
      this.#id = id;
    }

    static idOf(entity: Entity): string {
      return entity.#id;
    }
  }
  const { idOf } = Entity;
  const own = {
    $state: async function (this: Entity, options?: CallOptions) {
      try {
        return await dispatcher.call({ type: toServer.state, isRead: true }, [kind, idOf(this)], undefined, options);
      } catch (error) {
        if (error instanceof OnefoldError && error.code === "not-found") return undefined;
        throw error;
      }
    },
    $delete: function (this: Entity, options?: CallOptions) {
      return dispatcher.call({ type: toServer.delete, isRead: false }, [kind, idOf(this)], undefined, options);
    },
    $history: function (this: Entity, options: PageOptions = {}) {
      const { limit, cursor, ...rest } = options;
      const shape = { type: toServer.history, isRead: true };
      return dispatcher.call(shape, [kind, idOf(this)], undefined, rest, { limit, cursor });
    },
    $watch: function (this: Entity, query: string, input?: Value, options: WatchOptions = {}) {
      return watch(subscriptions, watchTarget(kind, idOf(this), query, input), options);
    },
    $watchState: function (this: Entity, options: WatchOptions = {}) {
      return watch(subscriptions, watchTarget(kind, idOf(this), undefined, undefined), options);
    },
  };
  Object.setPrototypeOf(
    Entity.prototype,
    withMethods(own, (name) => {
      const shape: CallShape = { type: toServer.call, isRead: false };
      return function (this: Entity, input?: Value, options?: CallOptions) {
        return dispatcher.call(shape, [kind, idOf(this), name], input, options);
      };
    }),
  );
  // A command of this name is one like any other.
  delete (Entity.prototype as { constructor?: unknown }).constructor;
  return (id) => new Entity(id);
}

function watch(subscriptions: Subscriptions, target: WatchTarget, options: WatchOptions): Watch<Value | undefined> {
  return {
    changes: { [Symbol.asyncIterator]: () => subscriptions.open(target, options) },
    [Symbol.asyncIterator]: () => values(subscriptions.open(target, options)),
  };
}

function values(changes: AsyncIterator<Change<Value | undefined>>): AsyncIterator<Value | undefined> {
  const unwrapped = (result: IteratorResult<Change<Value | undefined>>): IteratorResult<Value | undefined> =>
    result.done === true ? { done: true, value: undefined } : { done: false, value: result.value.value };
  return {
    next: async () => unwrapped(await changes.next()),
    return: async () => unwrapped(await changes.return!()),
  };
}
