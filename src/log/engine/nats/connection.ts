/**
 * The connection of one node to the engine's servers: it stays while servers come and go, and moves to another one when its own falls
 * silent. What JetStream is asked goes through `api`; foreign errors become `unavailable` here, or a code of `api-error.ts`.
 *
 * The protocol is spoken as it is specified, in JSON, without the client's JetStream library: that one repeats publishes by itself, and its
 * consumers pass over missing sequences without a word (docs/decisions, "NATS clients").
 *
 * With TLS a server must show a certificate of the authority for one of the addresses that the node was given. A server that offers no TLS
 * then is not talked to.
 */
import { checkServerIdentity, type PeerCertificate } from "node:tls";
import {
  type ConnectionOptions,
  connect,
  createInbox,
  credsAuthenticator,
  type Msg,
  type NatsConnection,
  type Subscription,
  type SubscriptionOptions,
} from "@nats-io/transport-node";
import type { OnefoldError } from "../../../base/errors.ts";
import type { Limits } from "../../../base/limits.ts";
import { type ApiAnswer, parseAnswer, parseJson } from "./api-error.ts";
import { type Question, Requests, unavailable } from "./requests.ts";

/** Who the node is to the servers. */
export type NatsLogin =
  | { readonly user: string; readonly pass: string }
  | { readonly token: string }
  /** The content of a credentials file (JWT and NKey). */
  | { readonly credentials: Uint8Array };

export interface NatsTls {
  readonly caFile?: string;
  readonly certFile?: string;
  readonly keyFile?: string;
}

export interface NatsAddress {
  /** As `nats://host:port`: all of them. Others are not learnt of. */
  readonly servers: readonly string[];
  readonly login?: NatsLogin;
  readonly tls?: NatsTls;
}

type ConnectionLimits = Pick<Limits, "engineAnswerMs" | "enginePingMs">;

const reconnectMs = 100;
const pingsOutMax = 2;

export class EngineConnection {
  readonly #nats: NatsConnection;
  readonly #requests: Requests;
  readonly #limits: ConnectionLimits;
  readonly #watching: Promise<void>;
  #isOpen = true;

  private constructor(nats: NatsConnection, limits: ConnectionLimits) {
    this.#nats = nats;
    this.#limits = limits;
    this.#requests = new Requests(nats);
    this.#watching = this.#watch();
  }

  /** Throws `unavailable` where none of the servers lets the node in. */
  static async open(address: NatsAddress, limits: ConnectionLimits): Promise<EngineConnection> {
    // The client goes on for ever where it is refused and is to outlive refusals later; one that gives up at once goes ahead of it.
    await (await EngineConnection.openOnce(address, limits)).close();
    return EngineConnection.#connect(address, limits, {
      maxReconnectAttempts: -1,
      // Credentials may be renewed on the servers one after the other.
      ignoreAuthErrorAbort: true,
    });
  }

  /** The same for a few questions: it tries each of the servers once, and is not made again where it is lost. */
  static openOnce(address: NatsAddress, limits: ConnectionLimits): Promise<EngineConnection> {
    return EngineConnection.#connect(address, limits, { reconnect: false });
  }

  static async #connect(address: NatsAddress, limits: ConnectionLimits, more: ConnectionOptions) {
    const { servers, login, tls } = address;
    const options: ConnectionOptions = {
      servers: [...servers],
      name: "onefold",
      timeout: limits.engineAnswerMs,
      pingInterval: limits.enginePingMs,
      maxPingOut: pingsOutMax,
      reconnectTimeWait: reconnectMs,
      reconnectJitter: reconnectMs,
      reconnectJitterTLS: reconnectMs,
      // What servers tell of each other brings back ones that have refused, and their certificates are for addresses that nobody named.
      ignoreClusterUpdates: true,
      noAsyncTraces: true,
      ...(tls === undefined ? {} : { tls: tlsOptions(tls, servers) }),
      ...loginOptions(login),
      ...more,
    };
    try {
      return new EngineConnection(await connect(options), limits);
    } catch (cause) {
      throw unavailable(
        "None of the engine's servers lets this node in. Check their addresses, the login and the certificates.",
        cause,
      );
    }
  }

  /** What a message may have, its headers included, as the server says; undefined while there is none. */
  get payloadBytesMax(): number | undefined {
    return this.#nats.info?.max_payload;
  }

  /** Throws `unavailable`. See `Requests.ask`. */
  ask<T>(question: Question, take: (answer: Msg) => T): Promise<T> {
    if (!this.#isOpen) return Promise.reject(closedError());
    return this.#requests.ask(question, take);
  }

  /** Asks JetStream. Throws `unavailable` for no answer, and for one that is no JSON. */
  api<T>(subject: string, body?: unknown, atMostMs: number = this.#limits.engineAnswerMs): Promise<ApiAnswer<T>> {
    const payload = body === undefined ? "" : JSON.stringify(body);
    return this.ask({ subject: `$JS.API.${subject}`, payload, atMostMs }, (answer) => parseAnswer<T>(answer.data));
  }

  /** Every answer to one question, until `isComplete` or the deadline. Throws `unavailable`. */
  askAll(subject: string, isComplete: (answers: readonly unknown[]) => boolean): Promise<readonly unknown[]> {
    if (!this.#isOpen || !this.#requests.isConnected) {
      return Promise.reject(unavailable("There is no connection to the engine now."));
    }
    return new Promise((resolve, reject) => {
      const answers: unknown[] = [];
      const inbox = createInbox();
      const finish = () => {
        clearTimeout(timer);
        subscription.unsubscribe();
        resolve(answers);
      };
      const timer = setTimeout(finish, this.#limits.engineAnswerMs);
      const subscription = this.#nats.subscribe(inbox, {
        callback: (error, { data }) => {
          try {
            // An empty answer says that nobody is there to answer.
            if (error === null && data.length > 0) answers.push(parseJson(data));
            if (error !== null || data.length === 0 || isComplete(answers)) finish();
          } catch (cause) {
            finish();
            reject(cause);
          }
        },
      });
      this.#nats.publish(subject, "", { reply: inbox });
    });
  }

  subscribe(subject: string, options: SubscriptionOptions): Subscription {
    if (!this.#isOpen) throw closedError();
    return this.#nats.subscribe(subject, options);
  }

  /** Tells a server something that it need not answer; nothing where there is no connection. */
  tell(subject: string, payload: string = ""): void {
    if (this.#isOpen && this.#requests.isConnected) this.#nats.publish(subject, payload);
  }

  /** Idempotent. What is under way ends as `unavailable`. */
  async close(): Promise<void> {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#requests.close();
    await this.#nats.close();
    await this.#watching;
  }

  async #watch(): Promise<void> {
    for await (const { type } of this.#nats.status()) {
      if (type === "disconnect" || type === "close" || type === "staleConnection") this.#requests.disconnected();
      else if (type === "reconnect") this.#requests.connected();
    }
  }
}

export function closedError(): OnefoldError {
  return unavailable("The connection to the engine is closed. Open another.");
}

/** The client itself holds the certificate of a server that it was given by its address, not a name, against 'localhost'. */
function tlsOptions(files: NatsTls, servers: readonly string[]): NonNullable<ConnectionOptions["tls"]> {
  const hosts = servers.map((server) => new URL(server).hostname.replace(/^\[|\]$/g, ""));
  const options = {
    ...files,
    checkServerIdentity: (_name: string, certificate: PeerCertificate): Error | undefined => {
      const errors = hosts.map((host) => checkServerIdentity(host, certificate));
      return errors.includes(undefined) ? undefined : errors[0];
    },
  };
  return options;
}

function loginOptions(login: NatsLogin | undefined): ConnectionOptions {
  if (login === undefined) return {};
  if ("credentials" in login) return { authenticator: credsAuthenticator(login.credentials) };
  return { ...login };
}
