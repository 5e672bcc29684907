import { engineLogSuite } from "../../log/engine-log.suite.ts";
import { EngineWorld } from "./engine.fixture.ts";

engineLogSuite("simulated", () => {
  const world = new EngineWorld("suite");
  let nodeCount = 0;
  return {
    connect: () => world.connect(`n${++nodeCount}`),
    drive: (body) => world.run(body),
    pass: () => world.scheduler.sleep(5),
  };
});
