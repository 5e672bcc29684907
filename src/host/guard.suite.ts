/** What every guard promises, whoever stops the code: the real one, the one for workers, the simulated one. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type Guard, GuardTimeout, type StopReason } from "./host.ts";

export interface GuardUnderTest {
  readonly guard: Guard;
  /** User code that takes `durationMs` of the guard's time, or all time there is. */
  readonly spend: (durationMs: number) => void;
}

/** Runs one turn; resolves with what happened to it. */
export function turn(guard: Guard, run: () => void): Promise<"ran" | StopReason> {
  return new Promise((resolve, reject) => {
    const turns = guard.turns({
      run: () => {
        try {
          run();
          resolve("ran");
        } catch (error) {
          if (error instanceof GuardTimeout) throw error;
          reject(error as Error);
        }
      },
      stopped: resolve,
    });
    turns.soon();
  });
}

export function guardSuite(
  name: string,
  make: () => GuardUnderTest,
  run: (body: () => Promise<void>) => Promise<void>,
) {
  const inTurn = (body: (under: GuardUnderTest) => Promise<void>) => () => run(() => body(make()));

  describe(`${name}, as a guard,`, () => {
    test(
      "runs turns later, once for any number of wishes, and again when wished again",
      inTurn(async ({ guard }) => {
        const log: string[] = [];
        await new Promise<void>((resolve) => {
          const turns = guard.turns({
            run: () => {
              log.push("turn");
              if (log.length < 4) turns.soon();
              else resolve();
            },
            stopped: () => log.push("stopped"),
          });
          turns.soon();
          turns.soon();
          log.push("wished");
        });
        assert.deepEqual(log, ["wished", "turn", "turn", "turn"]);
      }),
    );

    test(
      "gives back what user code returns, and lets through what it throws, whatever that is (W2)",
      inTurn(async ({ guard }) => {
        const disguised = Object.assign(new Error("mine"), { code: "ERR_SCRIPT_EXECUTION_TIMEOUT" });
        for (const thrown of [new TypeError("own"), disguised, "text", undefined, null]) {
          const caught: unknown[] = [];
          const ran = await turn(guard, () => {
            assert.equal(
              guard.call(1000, () => 7),
              7,
            );
            try {
              guard.call(1000, () => {
                throw thrown;
              });
            } catch (error) {
              caught.push(error);
            }
          });
          assert.equal(ran, "ran");
          assert.deepEqual(caught, [thrown]);
        }
      }),
    );

    test(
      "stops user code that takes too long: no code after it runs, and the turn's owner is told before its next turn",
      inTurn(async ({ guard, spend }) => {
        const log: string[] = [];
        await new Promise<void>((resolve) => {
          const turns = guard.turns({
            run: () => {
              if (log.length > 0) return resolve();
              log.push("before");
              turns.soon();
              guard.call(20, () => {
                log.push("inside");
                spend(Number.POSITIVE_INFINITY);
                log.push("never");
              });
              log.push("never");
            },
            stopped: (reason) => log.push(reason),
          });
          turns.soon();
        });
        assert.deepEqual(log, ["before", "inside", "time"]);
      }),
    );

    test(
      "measures each call by itself, and what is between calls not at all",
      inTurn(async ({ guard, spend }) => {
        const ran = await turn(guard, () => {
          for (let call = 0; call < 6; call++) {
            guard.call(300, () => spend(60));
            spend(60);
          }
        });
        assert.equal(ran, "ran");
      }),
    );

    test(
      "goes on with other turns after a stop",
      inTurn(async ({ guard, spend }) => {
        for (let round = 0; round < 3; round++) {
          const loop = turn(guard, () => guard.call(10, () => spend(Number.POSITIVE_INFINITY)));
          const innocent = turn(guard, () => guard.call(1000, () => undefined));
          assert.deepEqual(await Promise.all([loop, innocent]), ["time", "ran"]);
        }
      }),
    );

    test(
      "refuses calls inside of calls, calls outside of turns, and limits that are no whole milliseconds (W3)",
      inTurn(async ({ guard }) => {
        const refused = { name: "AssertionFailure" };
        const ran = await turn(guard, () => {
          assert.throws(() => guard.call(1000, () => guard.call(1000, () => undefined)), refused);
          for (const limitMs of [0, 0.5, -1, Number.NaN]) {
            assert.throws(() => guard.call(limitMs, () => undefined), refused);
          }
          guard.call(1000, () => undefined);
        });
        assert.equal(ran, "ran");
        assert.throws(() => guard.call(1000, () => undefined), refused);
      }),
    );

    test(
      "has what user code calls back run in the same way, and outside of calls too",
      inTurn(async ({ guard }) => {
        assert.equal(
          guard.own(() => 1),
          1,
        );
        const ran = await turn(guard, () => {
          assert.equal(
            guard.call(1000, () => guard.own(() => guard.own(() => 2)) + guard.own(() => 3)),
            5,
          );
          assert.throws(
            () =>
              guard.call(1000, () =>
                guard.own(() => {
                  throw new RangeError("own");
                }),
              ),
            RangeError,
          );
        });
        assert.equal(ran, "ran");
      }),
    );
  });
}
