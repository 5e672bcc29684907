/** A whole HTTP reply as text, for connections on which there is no request to reply to through the framework. */
import { utf8Length } from "../base/bytes.ts";
import type { OnefoldError } from "../base/errors.ts";
import { problemOf } from "./problem.ts";

const reasons: Readonly<Record<number, string>> = {
  400: "Bad Request",
  408: "Request Timeout",
  413: "Payload Too Large",
  431: "Request Header Fields Too Large",
};

/** The problem document with its head; it says that the connection ends. */
export function rawProblemReply(error: OnefoldError): string {
  const { status, body } = problemOf(error, { showInside: false });
  return [
    `HTTP/1.1 ${status} ${reasons[status] ?? "Error"}`,
    "content-type: application/problem+json",
    `content-length: ${utf8Length(body)}`,
    "cache-control: no-store",
    "x-content-type-options: nosniff",
    "connection: close",
    "",
    body,
  ].join("\r\n");
}
