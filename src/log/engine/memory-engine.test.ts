import { engineLogSuite } from "../engine-log.suite.ts";
import { MemoryEngineServer } from "./memory-engine.ts";

engineLogSuite("in memory", () => {
  const server = new MemoryEngineServer();
  return { connect: () => server.connect(), pass: () => Promise.resolve() };
});
