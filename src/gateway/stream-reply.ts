/**
 * Writes an answer that is a stream, at the client's pace.
 *
 * T1  The next chunk is asked for only when what was written has left this process, or nearly.
 * T2  A stream that fails in the middle cuts the connection: less than `content-length` has come, so nobody takes it for whole.
 * T3  `close` is called once, also where the client went away before the first byte, or asked for the head alone.
 */
import type { FastifyReply } from "fastify";
import type { Trace } from "../host/host.ts";
import type { Answer } from "./answer.ts";
import { headOfAnswer, type ReplyFacts } from "./replies.ts";

type Outgoing = FastifyReply["raw"];

/** Resolves when the reply is over, one way or another. `answer` has a stream. Never rejects. */
export async function sendStream(reply: FastifyReply, answer: Answer, facts: ReplyFacts, trace: Trace): Promise<void> {
  const { stream, status } = answer;
  if (stream === undefined) return;
  reply.hijack();
  const outgoing = reply.raw;
  try {
    outgoing.writeHead(status, headOfAnswer(answer, facts));
    if (reply.request.raw.method !== "HEAD") await pump(outgoing, stream.chunks());
    outgoing.end();
  } catch (error) {
    trace(
      "error",
      "A stream to a client failed in the middle and was cut. Look at the cause, then let it be asked again.",
      {
        route: reply.request.routeOptions.url,
        error,
      },
    );
    outgoing.destroy();
  } finally {
    stream.close();
  }
}

async function pump(outgoing: Outgoing, chunks: AsyncIterable<Uint8Array>): Promise<void> {
  for await (const chunk of chunks) {
    if (outgoing.destroyed) return;
    if (!outgoing.write(chunk)) await drained(outgoing);
  }
}

/** Resolves when more may be written, or nobody takes anything any more. */
function drained(outgoing: Outgoing): Promise<void> {
  if (outgoing.destroyed) return Promise.resolve();
  return new Promise((resolve) => {
    const done = (): void => {
      outgoing.off("drain", done).off("close", done);
      resolve();
    };
    outgoing.on("drain", done).on("close", done);
  });
}
