/**
 * Calls between nodes, over the network port: a question, an answer, a deadline. Many of them share a message.
 *
 * PE1 A call that is answered was handled by the node at that address, at least once; the answer is one that its handler gave to it.
 * PE2 `unavailable` is said only of a call that surely was not handled and won't be; whatever else is not known is `outcome-unknown`.
 * PE3 What is under way is bounded, by peer, in number and bytes (G9).
 */
import type { Value } from "../base/value.ts";

/**
 * Throws `OnefoldError` or `Refused`, which reach the caller as they are but for their cause. `leftMs`: so long the caller waits, counted from
 * when the request came.
 */
export type PeerHandler = (body: Value, from: { readonly address: string; readonly leftMs: number }) => Promise<Value>;

export interface Peers {
  /** This node's own address. A call to it goes the same way as any other. */
  readonly address: string;
  /**
   * Asks `method` of the node at `address`. Rejects with what the handler threw; `unavailable` (retry safe) where it was never
   * sent; `outcome-unknown` (retry unknown) where no answer came within `deadlineMs`, or the node's life has ended.
   */
  call(address: string, method: string, body: Value, options: { readonly deadlineMs: number }): Promise<Value>;
  /** At most one handler a method. */
  handle(method: string, handler: PeerHandler): void;
  close(): Promise<void>;
}
