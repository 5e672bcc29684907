/** A small bank as plain definitions, and a host, for the gateway's tests; the builders of `define.ts` are not needed here. */
import { performance } from "node:perf_hooks";
import { z } from "zod";
import { Refused } from "../base/errors.ts";
import type { EntityDefinition, Schema, SystemDefinition, SystemOptions } from "../entity/definition.ts";
import type { Host, LogLevel } from "../host/host.ts";

interface Account {
  balanceCents: number;
}

const cents = z.object({ cents: z.number().int().positive() });

const account: EntityDefinition = {
  name: "account",
  state: z.object({ balanceCents: z.number() }),
  initial: () => ({ balanceCents: 0 }),
  schemaVersion: 1,
  migrations: [],
  collections: new Map(),
  affinity: undefined,
  region: undefined,
  commands: new Map([
    operation("deposit", cents, (state, input) => {
      state.balanceCents += input.cents;
      return state.balanceCents;
    }),
    operation("withdraw", cents, (state, input) => {
      if (state.balanceCents < input.cents) {
        throw new Refused("insufficient-funds", { balanceCents: state.balanceCents, at: new Date(0) });
      }
      state.balanceCents -= input.cents;
      return state.balanceCents;
    }),
    operation("touch", undefined, () => undefined),
    operation("echo", z.unknown(), (_state, input) => input),
    operation("large", undefined, () => "x".repeat(200_000)),
  ]),
  queries: new Map([
    operation("balance", undefined, (state) => state.balanceCents),
    operation("plus", cents, (state, input) => state.balanceCents + input.cents),
  ]),
};

interface Transfer {
  readonly from: string;
  readonly to: string;
  readonly cents: number;
}

type Parts = (
  entity: { definition: EntityDefinition },
  id: string,
) => Record<string, (input: unknown) => Promise<unknown>>;

export function bankSystem(options: SystemOptions = {}): SystemDefinition {
  return {
    name: "bank",
    entities: new Map([["account", account]]),
    transactions: new Map([
      [
        "transfer",
        {
          name: "transfer",
          input: z.object({ from: z.string(), to: z.string(), cents: z.number() }),
          at: undefined,
          run: (async (tx: Parts, input: Transfer) => {
            await tx({ definition: account }, input.from).withdraw!({ cents: input.cents });
            await tx({ definition: account }, input.to).deposit!({ cents: input.cents });
          }) as (tx: never, input: never) => Promise<unknown>,
        },
      ],
    ]),
    options,
  };
}

/** A command or a query: as data they have the same form. */
function operation<Input>(
  name: string,
  input: Schema<Input> | undefined,
  run: (state: Account, input: Input) => unknown,
): [string, { name: string; input: Schema | undefined; run: (state: never, input: never) => unknown }] {
  return [name, { name, input, run: run as (state: never, input: never) => unknown }];
}

export interface TracedLine {
  readonly level: LogLevel;
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>> | undefined;
}

/** The real clock and timers, and a trace that is kept. */
export function testHost(): Pick<Host, "clock" | "timers" | "trace"> & { readonly traced: TracedLine[] } {
  const traced: TracedLine[] = [];
  return {
    traced,
    clock: { wallMs: () => Date.now(), monotonicMs: () => performance.now() },
    timers: {
      after: (delayMs, callback) => {
        const timer = setTimeout(callback, delayMs);
        return { cancel: () => clearTimeout(timer) };
      },
      soon: (callback) => {
        setImmediate(callback);
      },
    },
    trace: (level, message, fields) => {
      traced.push({ level, message, fields });
    },
  };
}
