/** The node that the load reaches over HTTP or a socket: in a process of its own, like the program `onefold start`. */
import { limitHeapGrowth } from "../../src/host/node/heap.ts";
import { serve } from "../../src/runtime/serve.ts";
import { errorsOnly } from "../subject/in-process.ts";
import { benchSystem } from "../system.ts";
import { beChild } from "./child.ts";

beChild(async (job) => {
  const { directory } = job as { readonly directory: string };
  limitHeapGrowth();
  const served = await serve({
    system: benchSystem,
    dataDirectory: directory,
    hostname: "127.0.0.1",
    port: 0,
    trace: errorsOnly,
    onStopped: (error) => {
      console.error(error);
      process.exit(1);
    },
  });
  return { ready: { port: served.port }, close: () => served.close({ noticeMs: 0 }) };
});
