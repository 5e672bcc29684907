/** The framework's and Node's HTTP errors, translated once, by their codes. */
import { OnefoldError } from "../base/errors.ts";

/** An error of the framework that a caller caused, as ours; anything else comes back as it is. */
export function translateFrameworkError(error: unknown): unknown {
  switch (codeOf(error)) {
    case "FST_ERR_BAD_URL":
      return new OnefoldError("malformed", "The path holds a percent escape that is not UTF-8.", { cause: error });
    case "FST_ERR_MAX_PARAM_LENGTH":
      return new OnefoldError("invalid-id", "A part of the path is too long.", { cause: error });
    case "FST_ERR_CTP_INVALID_MEDIA_TYPE":
      return new OnefoldError("unsupported-media-type", "Send the body with Content-Type: application/json.", {
        cause: error,
      });
    default:
      return error;
  }
}

/** What the server's `clientError` tells of a connection; undefined where there is nobody left to answer. */
export function translateClientError(
  error: unknown,
  limits: { readonly headerBytesMax: number; readonly requestReceiveMs: number },
): OnefoldError | undefined {
  const code = codeOf(error);
  if (code === "HPE_HEADER_OVERFLOW") {
    return new OnefoldError(
      "headers-too-large",
      `The request line and headers are larger than ${limits.headerBytesMax} bytes.`,
      { cause: error },
    );
  }
  if (code === "ERR_HTTP_REQUEST_TIMEOUT") {
    return new OnefoldError("request-timeout", `The request did not arrive within ${limits.requestReceiveMs} ms.`, {
      cause: error,
    });
  }
  if (code === "HPE_CHUNK_EXTENSIONS_OVERFLOW") {
    return new OnefoldError("payload-too-large", "The body's chunk extensions are too large.", { cause: error });
  }
  if (code.startsWith("HPE_")) {
    return new OnefoldError("malformed", "The bytes on this connection are not HTTP/1.1.", { cause: error });
  }
  return undefined;
}

/** Why an address can't be listened on, as a fault of the configuration. */
export function translateListenError(error: unknown, where: string): unknown {
  const reasons: Readonly<Record<string, string>> = {
    EADDRINUSE: "another process listens there. Stop it, or choose another port",
    EACCES: "this user may not. Choose a port above 1023",
    EADDRNOTAVAIL: "this machine has no such address",
    ENOTFOUND: "there is no such host name",
  };
  const reason = reasons[codeOf(error)];
  if (reason === undefined) return error;
  return new OnefoldError("invalid-configuration", `Can't listen on ${where}: ${reason}.`, { cause: error });
}

/** Why a certificate and its key can't be used; anything else comes back as it is. */
export function translateTlsError(error: unknown): unknown {
  if (!codeOf(error).startsWith("ERR_OSSL_")) return error;
  const message = "The certificate and the key of the port are no pair in PEM. Look at the files that hold them.";
  return new OnefoldError("invalid-configuration", message, { cause: error });
}

function codeOf(error: unknown): string {
  if (typeof error !== "object" || error === null || !("code" in error)) return "";
  return typeof error.code === "string" ? error.code : "";
}
