import { OnefoldError } from "../../../base/errors.ts";
import type { Blobs } from "../../../store/blobs.ts";
import type { NatsEngine } from "./nats-engine.ts";
export function natsBlobs(_engine: NatsEngine, _place: string): Blobs {
  const no = async (): Promise<never> => {
    throw new OnefoldError("unavailable", "No blobs yet.");
  };
  return { put: no, get: no, list: async () => [], delete: no, readPointer: async () => undefined, setPointer: no };
}
