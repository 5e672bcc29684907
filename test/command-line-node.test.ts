/** Every command that asks a node, against a real one: what it prints, for people and for programs, and how it fails. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { deposit, ended, inProcess, only, ProgramFolder, resultOf, serveTown } from "./command-line.fixture.ts";
import { installOnefold } from "./installation.ts";

interface Failure {
  readonly code: string;
  readonly detail: string;
  readonly retry: string;
}

const escapeCharacter = "\u001b";

describe("the program onefold and a running node", { timeout: 120_000 }, () => {
  let folder: ProgramFolder;

  before(async () => {
    folder = await ProgramFolder.make();
    await installOnefold(folder.path);
    await serveTown(folder);
  });
  after(() => folder.remove());

  /** Until the messages that were sent have arrived. */
  const untilListed = async (prefix: string, count: number): Promise<void> => {
    const endMs = performance.now() + 20_000;
    for (;;) {
      const { ids } = JSON.parse(await resultOf("ls", "account", "--prefix", prefix, "--limit", "5000", "--json")) as {
        readonly ids: readonly string[];
      };
      if (ids.length >= count) return;
      assert.ok(performance.now() < endMs, `${ids.length} of ${count} accounts`);
    }
  };

  describe("ls", () => {
    test("lists what the system has", async () => {
      const text = await resultOf("ls");
      assert.match(text, /^The system town\.\n\nKIND {5}COMMANDS +QUERIES\naccount {2}deposit, withdraw {2}balance\n/);
      assert.match(text, /\nTRANSACTION\ntransfer\n$/);
      assert.deepEqual(JSON.parse(await resultOf("ls", "--json")), {
        system: "town",
        kinds: {
          account: { commands: ["deposit", "withdraw"], queries: ["balance"] },
          courier: { commands: ["open", "collect"], queries: [] },
        },
        transactions: ["transfer"],
      });
    });

    test("lists the ids of a kind in order, over as many pages as it takes, and says where to go on", async () => {
      await resultOf("call", "courier/one", "open", '{"count":1000,"from":0}');
      await resultOf("call", "courier/one", "open", '{"count":500,"from":1000}');
      await untilListed("c", 1500);
      const all = (await resultOf("ls", "account", "--prefix", "c", "--limit", "2000")).trimEnd().split("\n");
      assert.equal(all.length, 1500);
      assert.deepEqual(all, [...all].sort());
      const first = await inProcess("ls", "account", "--prefix", "c", "--limit", "1200");
      assert.equal(first.out.trimEnd().split("\n").length, 1200);
      const cursor = /^There is more: --cursor (\S+)$/m.exec(first.err)?.[1];
      assert.ok(cursor !== undefined, first.err);
      const rest = await inProcess("ls", "account", "--prefix", "c", "--cursor", cursor, "--limit", "1000", "--json");
      const { ids, ...others } = only(rest) as { readonly ids: readonly string[] };
      assert.deepEqual([ids, others], [all.slice(1200), {}]);
      assert.equal((await inProcess("ls", "account", "--prefix", "none")).out, "");
    });

    test("shows what would steer a terminal, and sends it only as JSON", async () => {
      await deposit("zz\u001b[31m\nred\u202e");
      const text = await resultOf("ls", "account", "--prefix", "zz");
      assert.equal(text, "zz\\u001b[31m\\nred\\u202e\n");
      const { ids } = JSON.parse(await resultOf("ls", "account", "--prefix", "zz", "--json")) as {
        readonly ids: string[];
      };
      assert.deepEqual(ids, ["zz\u001b[31m\nred\u202e"]);
      assert.doesNotMatch(
        await resultOf("tail", "account", "--after", "0", "--count", "1501"),
        new RegExp(escapeCharacter),
      );
    });

    for (const [args, code, reason] of [
      [["acount"], 1, /^no kind 'acount'; did you mean 'account'\?$/m],
      [["something-else"], 1, /^no kind 'something-else'; there are: account, courier$/m],
      [["account/a"], 2, /onefold get account\/a/],
      [["--prefix", "a"], 2, /name one: onefold ls KIND/],
      [["account", "--limit", "0"], 2, /whole number, 1 to 1000000/],
      [["account", "--cursor", "%%%"], 1, /malformed/],
    ] as const) {
      test(`ends with ${code} for: ls ${args.join(" ")}`, async () => {
        const failed = await inProcess("ls", ...args);
        assert.equal(failed.code, code);
        assert.match(failed.err, reason);
        assert.equal(failed.out, "");
      });
    }
  });

  describe("call, run and get", () => {
    for (const [args, reason] of [
      [["call", "acount/a", "deposit"], /^no kind 'acount'; did you mean 'account'\?$/m],
      [["call", "account/a", "balanse"], /^account has no command or query 'balanse'; did you mean 'balance'\?$/m],
      [["call", "courier/a", "xxxxxxx"], /^courier has no command or query 'xxxxxxx'; there are: open, collect$/m],
      [["run", "trasnfer"], /^no transaction 'trasnfer'; did you mean 'transfer'\?$/m],
      [["run", "account"], /^no transaction 'account'; it is a kind: onefold call account\/ID COMMAND$/m],
      [["get", "acount/a"], /^no kind 'acount'; did you mean 'account'\?$/m],
      [["get", "account/nobody"], /^not-found: /],
      [["call", "account/a", "deposit", '{"cents":"x"}'], /^invalid-input: .* at cents: /],
      [
        ["call", "account/a", "withdraw", '{"cents":5}'],
        /^Refused: insufficient-funds\n\{\n {2}"balanceCents": 0\n\}$/m,
      ],
    ] as const) {
      test(`ends with 1 for: ${args.join(" ")}`, async () => {
        const failed = await inProcess(...args);
        assert.deepEqual([failed.code, failed.out], [1, ""], failed.err);
        assert.match(failed.err, reason);
        const json = only(await inProcess(...args, "--json")) as Failure;
        assert.equal(json.retry, "never");
      });
    }
  });

  describe("history", () => {
    test("prints what happened, newest first, and goes on where it ended", async () => {
      for (const cents of [1, 2, 3]) await deposit("historic", cents);
      const page = await inProcess("history", "account/historic", "--limit", "2");
      assert.match(
        page.out,
        /^TIME +SEQUENCE {2}COMMAND +BY +SUBJECT +STATE\n.*"balanceCents":6}\n.*"balanceCents":3}\n$/,
      );
      const cursor = /--cursor (\S+)/.exec(page.err)?.[1];
      const rest = only(await inProcess("history", "account/historic", "--cursor", cursor!, "--json")) as {
        readonly items: readonly { readonly state: unknown; readonly command: string; readonly by: string }[];
        readonly trimmed: boolean;
      };
      assert.deepEqual(
        rest.items.map(({ state, command, by }) => [state, command, by]),
        [[{ balanceCents: 1 }, "deposit", "call"]],
      );
      assert.equal(rest.trimmed, false);
      const nobody = await inProcess("history", "account/nobody");
      assert.deepEqual([nobody.code, nobody.out, nobody.err], [0, "", "Nothing has happened to account/nobody.\n"]);
    });

    test("ends with 2 for what is no entity, and with 1 for a kind that there is not", async () => {
      assert.equal((await inProcess("history", "account")).code, 2);
      const unknown = await inProcess("history", "curier/a");
      assert.deepEqual([unknown.code, unknown.err], [1, "no kind 'curier'; did you mean 'courier'?\n"]);
    });
  });

  test("dead-letters prints what ended without taking hold, of all kinds or of one", async () => {
    const none = await inProcess("dead-letters");
    assert.deepEqual([none.code, none.out, none.err], [0, "", "There are no dead letters.\n"]);
    await resultOf("call", "courier/one", "collect");
    const endMs = performance.now() + 20_000;
    let text = "";
    while (text === "") {
      assert.ok(performance.now() < endMs, "the letter is recorded");
      text = await resultOf("dead-letters");
    }
    assert.match(
      text,
      /^TIME .*\n\S+Z {2}account\/empty {2}withdraw {2}message {2}insufficient-funds {2}\{"cents":1\} {2}/,
    );
    const { items } = only(await inProcess("dead-letters", "account", "--json")) as {
      readonly items: readonly { readonly code: string; readonly input: unknown }[];
    };
    assert.deepEqual(
      items.map(({ code, input }) => [code, input]),
      [["insufficient-funds", { cents: 1 }]],
    );
    assert.equal((await inProcess("dead-letters", "courier")).out, "");
    const unknown = await inProcess("dead-letters", "curier");
    assert.deepEqual([unknown.code, unknown.err], [1, "no kind 'curier'; did you mean 'courier'?\n"]);
  });

  describe("completion", () => {
    const complete = async (...words: string[]): Promise<readonly string[]> => {
      const text = await resultOf("__complete", "--", ...words);
      return text === "" ? [] : text.trimEnd().split("\n");
    };

    test("offers commands, options, files, and what the running system has", async () => {
      assert.ok((await complete("")).includes("dead-letters") && !(await complete("")).includes("__complete"));
      assert.deepEqual(await complete("st"), ["start"]);
      assert.deepEqual(await complete("history", "--c"), ["--cursor"]);
      assert.deepEqual(await complete("start", ""), [":files"]);
      assert.deepEqual(await complete("verify", "--data", ""), [":files"]);
      assert.deepEqual(await complete("completion", ""), ["bash", "fish", "zsh"]);
      assert.deepEqual(await complete("call", ""), ["account/", "courier/"]);
      assert.deepEqual(await complete("call", "--key", "x", "account/histo"), ["account/historic"]);
      assert.deepEqual(await complete("call", "account/historic", ""), ["balance", "deposit", "withdraw"]);
      assert.deepEqual(await complete("tail", "cou"), ["courier", "courier/"]);
      assert.deepEqual(await complete("run", "t"), ["transfer"]);
      assert.deepEqual(await complete("ls", "a"), ["account"]);
      assert.deepEqual(await complete("get", "account/zz"), [], "a shell would take it for something else");
      assert.deepEqual(await complete("call", "--url", "http://127.0.0.1:1", ""), []);
      assert.deepEqual(await complete("nonsense", ""), []);
      assert.deepEqual(await complete("quarantine", "l"), ["lift", "ls"]);
      assert.deepEqual(await complete("quarantine", "lift", "--d"), ["--data"]);
    });

    test("works in bash, at words with slashes and colons too", async () => {
      await deposit("with:colon");
      const script = [
        "source <(onefold completion bash)",
        `ask() { COMP_LINE="$1"; COMP_POINT=\${#1}; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _onefold; printf "%s\\n" "\${COMPREPLY[@]}" | sort | paste -sd " "; }`,
        'ask "onefold dea" onefold dea',
        'ask "onefold call acc" onefold call acc',
        'ask "onefold call account/historic " onefold call account/historic ""',
        'ask "onefold get account/with:co" onefold get account/with : co',
        'ask "onefold start tow" onefold start tow',
      ].join("\n");
      const { out, err } = await ended(folder.spawn("bash", ["-c", script]));
      assert.deepEqual(
        out.split("\n"),
        ["dead-letters", "account/", "balance deposit withdraw", "colon", "town town.ts", ""],
        err,
      );
    });

    test("has a script for every shell that it names, and ends with 2 for another", async () => {
      for (const shell of ["bash", "zsh", "fish"]) assert.match(await resultOf("completion", shell), /__complete/);
      const other = await inProcess("completion", "tcsh");
      assert.equal(other.code, 2);
      assert.match(other.err, /Allowed choices are bash, zsh, fish/);
    });
  });

  test("with --json a failure is JSON too, whoever is to blame", async () => {
    const nowhere = ["--url", "http://127.0.0.1:1", "--json"];
    for (const args of [
      ["call", "a/b", "c"],
      ["run", "a"],
      ["get", "a/b"],
      ["ls"],
      ["history", "a/b"],
      ["tail"],
      ["top"],
    ]) {
      const failed = await inProcess(...args, ...nowhere);
      assert.equal(failed.code, 3);
      const { code, retry } = only(failed) as Failure;
      assert.deepEqual([code, retry], ["unreachable", "safe"]);
    }
    const usage = await inProcess("get", "--json");
    assert.equal(usage.code, 2);
    assert.equal((only(usage) as Failure).detail, "missing required argument 'kind/id'");
    const path = await inProcess("get", "nonsense", "--json");
    assert.deepEqual([path.code, (only(path) as Failure).code], [2, "usage"]);
  });
});
