/** A node with its gateway, for the client's tests: real, on a temporary folder, and restartable on the same port. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Limits } from "../base/limits.ts";
import type { SystemOptions } from "../entity/definition.ts";
import { createGateway, type Gateway } from "../gateway/gateway.ts";
import { type OnefoldNode, openNode } from "../runtime/node.ts";
import { bank } from "./bank.fixture.ts";

export interface TestNode {
  readonly url: string;
  readonly node: OnefoldNode;
  readonly gateway: Gateway;
  /** Ends the gateway without a word, and its connections; the node lives on. */
  cut(): Promise<void>;
  /** Listens again, on the same port. */
  resume(): Promise<void>;
  close(): Promise<void>;
}

/** Opens it. `port` 0 for any free one. */
export async function testNode(options: SystemOptions = {}, limits: Partial<Limits> = {}): Promise<TestNode> {
  const dataDirectory = await mkdtemp(join(tmpdir(), "onefold-client-"));
  const system = { ...bank, definition: { ...bank.definition, options } };
  const node = await openNode({ system, dataDirectory, trace: () => undefined });
  let port = 0;
  const listen = async () => {
    const gateway = await createGateway({
      service: node.service,
      system: system.definition,
      host: node.host,
      address: { hostname: "127.0.0.1", port },
      limits,
    });
    await gateway.listen();
    port = gateway.port;
    return gateway;
  };
  let gateway = await listen();
  return {
    url: gateway.url,
    node,
    get gateway() {
      return gateway;
    },
    cut: () => gateway.close(),
    resume: async () => {
      gateway = await listen();
    },
    close: async () => {
      await gateway.close();
      await node.close();
      await rm(dataDirectory, { recursive: true });
    },
  };
}
