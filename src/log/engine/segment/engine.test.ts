import { logSuite } from "../../log.suite.ts";
import { SimulatedLogPlace } from "./simulated-place.fixture.ts";

for (const [name, segmentBytes, payloadBytesMax] of [
  ["small segments on a simulated disk", 64 * 1024, 60_000],
  ["large segments on a simulated disk", 2 * 1024 * 1024, undefined],
] as const) {
  logSuite(name, () => {
    const place = new SimulatedLogPlace(name);
    return {
      open: (options) => place.open({ segmentBytes, reserveBytes: 4096, ...options }),
      drive: (body) => place.drive(body),
      ...(payloadBytesMax === undefined ? {} : { payloadBytesMax }),
    };
  });
}
