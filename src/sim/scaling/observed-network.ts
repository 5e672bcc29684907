/** A network between nodes whose every frame somebody looks at, where it is sent and where it is received. */
import type { Network } from "../../host/network.ts";

/** `onFrame` runs before the frame goes on. */
export function observedNetwork(network: Network, onFrame: (frame: Uint8Array) => void): Network {
  return {
    listen: async (address, receive) => {
      const endpoint = await network.listen(address, (message, from) => {
        onFrame(message);
        receive(message, from);
      });
      return {
        address: endpoint.address,
        send: (to, message) => {
          onFrame(message);
          endpoint.send(to, message);
        },
        close: () => endpoint.close(),
      };
    },
  };
}
