/** The bare socket server in a process of its own. */
import { startBareSocket } from "../subject/bare-socket.ts";
import { beChild } from "./child.ts";

beChild(async () => {
  const { port, close } = await startBareSocket();
  return { ready: { port }, close };
});
