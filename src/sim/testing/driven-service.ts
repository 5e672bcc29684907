/** A service each of whose calls goes through one function, which sees to it that it is answered. */
import type { Service } from "../../entity/service.ts";
import { settleBy } from "../../entity/settle.ts";

/** Runs a call on the service of the present life, and has the simulated world go on until it is settled. */
export type Drive = <T>(run: (service: Service) => Promise<T>) => Promise<T>;

/** `present` is for what is answered at once. */
export function drivenService(drive: Drive, present: () => Service): Service {
  return {
    command: (...call) => drive((service) => service.command(...call)),
    transaction: (...call) => drive((service) => service.transaction(...call)),
    beginCommand: (address, name, input, options, settle) =>
      settleBy(
        drive((service) => service.command(address, name, input, options)),
        settle,
      ),
    beginTransaction: (name, input, options, settle) =>
      settleBy(
        drive((service) => service.transaction(name, input, options)),
        settle,
      ),
    query: (...call) => drive((service) => service.query(...call)),
    state: (...call) => drive((service) => service.state(...call)),
    delete: (...call) => drive((service) => service.delete(...call)),
    list: (...call) => drive((service) => service.list(...call)),
    history: (...call) => drive((service) => service.history(...call)),
    changes: (...call) => drive((service) => service.changes(...call)),
    deadLetters: (...call) => drive((service) => service.deadLetters(...call)),
    watch: (...call) => present().watch(...call),
    mintSession: (principal) => present().mintSession(principal),
    health: () => present().health(),
  };
}
