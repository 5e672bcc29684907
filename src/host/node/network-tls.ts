/**
 * Mutual TLS between nodes: each shows a certificate that the cluster's own authority has signed, and takes nobody without one. The name
 * that a node is reached by must be in its certificate. TLS 1.3 only: both ends are Onefold.
 */
import { connect as connectPlain, createServer as createPlainServer, isIP, type Server, type Socket } from "node:net";
import { connect as connectTls, createServer as createTlsServer } from "node:tls";
import type { HostAndPort } from "../network.ts";

/** PEM texts. */
export interface NetworkTls {
  /** This node's certificate, with what lies between it and the authority. */
  readonly certificate: string;
  readonly key: string;
  /** Who signs nodes' certificates: nobody else's are taken. */
  readonly authority: string;
}

const minVersion = "TLSv1.3";

/** Calls `accept` with each connection whose peer has shown a certificate, or each one where there is no TLS. */
export function createPeerServer(
  tls: NetworkTls | undefined,
  options: { readonly probeAfterMs: number; readonly onRefused: (error: Error) => void },
  accept: (socket: Socket) => void,
): Server {
  const common = { noDelay: true, keepAlive: true, keepAliveInitialDelay: options.probeAfterMs };
  if (tls === undefined) return createPlainServer(common, accept);
  const server = createTlsServer(
    {
      ...common,
      cert: tls.certificate,
      key: tls.key,
      ca: tls.authority,
      requestCert: true,
      rejectUnauthorized: true,
      minVersion,
    },
    accept,
  );
  server.on("tlsClientError", options.onRefused);
  return server;
}

/** Connects; what is written before the peer has shown its certificate waits for that. */
export function connectToPeer(tls: NetworkTls | undefined, { host, port }: HostAndPort): Socket {
  const name = host.replace(/[[\]]/g, "");
  if (tls === undefined) return connectPlain({ host: name, port, noDelay: true });
  const socket = connectTls({
    host: name,
    port,
    cert: tls.certificate,
    key: tls.key,
    ca: tls.authority,
    minVersion,
    // RFC 6066: an address is no server name; the certificate is held against it all the same.
    ...(isIP(name) === 0 ? { servername: name } : {}),
  });
  return socket.setNoDelay(true);
}
