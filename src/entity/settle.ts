/** How the one who asked is answered, where a promise for each question would be felt. */

/** By one of the two, once, perhaps before what was asked has returned. Neither may throw. */
export interface Settle<T> {
  resolve(reply: T): void;
  reject(error: Error): void;
}

/** Answers with what the promise comes to. */
export function settleBy<T>(reply: Promise<T>, settle: Settle<T>): void {
  reply.then(
    (settled) => settle.resolve(settled),
    (error: unknown) => settle.reject(error as Error),
  );
}
