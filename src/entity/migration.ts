/**
 * Keeps what a migration does not know (G11): a state may hold fields that this version of the code has never heard of,
 * written by a newer one before it was rolled back, or by a removed feature.
 *
 * M1  A field of the root state that the migration neither read, wrote, deleted nor listed is in the result, unchanged.
 * M2  A migration that lists the fields (`{ ...state }`, `Object.keys`) has seen them all: its result is the result.
 */
import { OnefoldError } from "../base/errors.ts";
import { cloneValue, type Value } from "../base/value.ts";
import { isPlainObject } from "../base/value-explanation.ts";

type State = Record<string, Value | undefined>;

/** The migration with M1 and M2. It is given a copy, so it may change its state in place and return that. */
export function keepUnknownFields(migrate: (state: never) => object): (state: Value) => Value {
  return (old) => {
    const state = cloneValue(old) as State;
    const touched = new Set<string>();
    let listed = false;
    const touch = (key: string | symbol): void => {
      if (typeof key === "string") touched.add(key);
    };
    const watched = new Proxy(state, {
      get(target, key, receiver) {
        touch(key);
        return Reflect.get(target, key, receiver) as unknown;
      },
      has(target, key) {
        touch(key);
        return Reflect.has(target, key);
      },
      set(target, key, value) {
        touch(key);
        return Reflect.set(target, key, value);
      },
      deleteProperty(target, key) {
        touch(key);
        return Reflect.deleteProperty(target, key);
      },
      ownKeys(target) {
        listed = true;
        return Reflect.ownKeys(target);
      },
    });
    const migrated: unknown = migrate(watched as never);
    if (migrated === watched) return cloneValue(state as Value);
    if (typeof migrated !== "object" || migrated === null || !isPlainObject(migrated))
      throw new OnefoldError(
        "invalid-definition",
        "A migration must return the new state, an object with named fields",
      );
    const untouched = listed ? [] : Object.entries(state).filter(([key]) => !touched.has(key));
    // What the migration wrote wins over what it did not know.
    return cloneValue({ ...Object.fromEntries(untouched), ...(migrated as State) });
  };
}
