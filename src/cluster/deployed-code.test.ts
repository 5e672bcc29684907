import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { deployable, hasDeployedCode, lagOf, schemaVersions } from "./deployed-code.ts";
import { clusterOf, joiningWith, stateAfter } from "./system.fixture.ts";
import type { SystemRecord } from "./system-records.ts";
import type { SchemaVersions, SystemState } from "./system-state.ts";

/** A cluster whose controller `a` has code of these schemas, and others with theirs. */
function of(schemas: Readonly<Record<string, SchemaVersions>>, deployed?: SchemaVersions): SystemState {
  const joined = Object.entries(schemas).map(([id, each]) => joiningWith(id, each));
  const office = { type: "controller-claimed", member: "a", term: 1 } as const;
  const code = deployed === undefined ? [] : [deploying(deployed)];
  return stateAfter([...joined, office, ...code], clusterOf([]));
}

function deploying(schemas: SchemaVersions, readerVersion = 1): SystemRecord {
  return { type: "deployed", term: 1, code: { readerVersion, schemas } };
}

const owners = (state: SystemState): readonly string[] =>
  [...state.members.values()].filter((member) => hasDeployedCode(state, member)).map(({ id }) => id);

describe("what a cluster has deployed", () => {
  const cases: readonly {
    readonly what: string;
    readonly state: SystemState;
    readonly deployable: SchemaVersions | undefined;
  }[] = [
    { what: "a new cluster's code is that of its members", state: of({ a: {}, b: {} }), deployable: {} },
    { what: "what not all have is not deployed", state: of({ a: { note: 2 }, b: {} }, {}), deployable: undefined },
    { what: "what all have is", state: of({ a: { note: 2 }, b: { note: 3 } }, {}), deployable: { note: 2 } },
    {
      what: "who drains holds nothing up",
      state: stateAfter([{ type: "draining", member: "b" }], of({ a: { note: 2 }, b: {} }, {})),
      deployable: { note: 2 },
    },
    {
      what: "who is gone neither",
      state: stateAfter([{ type: "left", member: "b" }], of({ a: { note: 2 }, b: {} }, {})),
      deployable: { note: 2 },
    },
    {
      what: "it never goes back (DC1)",
      state: of({ a: {}, b: {} }, { note: 2 }),
      deployable: undefined,
    },
    {
      what: "kinds are looked at one by one",
      state: of({ a: { note: 2, pad: 2 }, b: { pad: 3 } }, { note: 2 }),
      deployable: { note: 2, pad: 2 },
    },
  ];
  for (const each of cases) {
    test(each.what, () => assert.deepEqual(deployable(each.state)?.schemas, each.deployable));
  }

  test("says who may own: members with exactly that (DC3)", () => {
    const state = of({ a: { note: 2 }, b: { note: 3 }, c: {} }, { note: 2 });
    assert.deepEqual(owners(state), ["a"]);
    assert.equal(lagOf(state, state.members.get("c")!), "its schema of 'note' has version 1, of 2");
    assert.equal(lagOf(state, state.members.get("b")!), undefined);
    assert.deepEqual(owners(of({ a: { note: 2 }, b: {} })), ["a", "b"], "before anything was deployed, all");
  });

  test("is about the records' format, too", () => {
    const state = stateAfter([deploying({}, 2)], of({ a: {} }));
    assert.deepEqual(owners(state), []);
    assert.equal(lagOf(state, state.members.get("a")!), "it reads records up to version 1, of 2");
  });

  test("that somebody says out of office changes nothing", () => {
    const state = stateAfter([{ ...deploying({ note: 2 }), term: 0 } as SystemRecord], of({ a: {} }, {}));
    assert.deepEqual(state.deployed?.schemas, {});
  });

  test("never goes back, whatever is deployed in which order, and what every live member has can be (DC1, DC2)", () => {
    const kind = fc.constantFrom("note", "pad", "box");
    const schemas = fc.dictionary(kind, fc.integer({ min: 2, max: 4 }), { maxKeys: 3 });
    fc.assert(
      fc.property(
        fc.array(schemas, { minLength: 1, maxLength: 4 }),
        fc.array(schemas, { maxLength: 4 }),
        (all, said) => {
          let state = of(Object.fromEntries(all.map((each, index) => ["abcd"[index]!, each])));
          let versions: SchemaVersions = {};
          const higher = (next: SchemaVersions): void => {
            for (const [each, version] of Object.entries(versions))
              assert.equal((next[each] ?? 1) >= version, true, each);
            versions = next;
          };
          for (const each of said) {
            state = stateAfter([deploying(each)], state);
            higher(state.deployed!.schemas);
          }
          const next = deployable(state);
          if (next !== undefined) {
            state = stateAfter([{ type: "deployed", term: 1, code: next }], state);
            higher(state.deployed!.schemas);
          }
          for (const each of ["note", "pad", "box"]) {
            const least = Math.min(...all.map((of) => of[each] ?? 1));
            assert.equal((versions[each] ?? 1) >= least, true, "DC2");
          }
          assert.equal(deployable(state), undefined, "once is enough");
        },
      ),
    );
  });

  test("a system's schemas are those that have changed", () => {
    const kinds = new Map([
      ["note", { schemaVersion: 3 }],
      ["pad", { schemaVersion: 1 }],
    ]);
    assert.deepEqual(schemaVersions(kinds), { note: 3 });
  });
});
