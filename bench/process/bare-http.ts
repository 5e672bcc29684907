/** The bare HTTP server in a process of its own. */
import { startBareHttp } from "../subject/bare-http.ts";
import { beChild } from "./child.ts";

beChild(async () => {
  const { port, close } = await startBareHttp();
  return { ready: { port }, close };
});
