import { bank } from "../examples/bank/bank.ts";
import { ClusterRig } from "../src/cluster/cluster.fixture.ts";
const rig = new ClusterRig(bank, "stops");
await rig.run(async () => {
  await rig.start("a", "b", "c");
  const { client, cluster } = rig.node("a");
  let isOver = false,
    done = 0;
  const log = (...x: unknown[]) => console.log(rig.scheduler.nowMs.toFixed(1), ...x);
  cluster!.systemLog.onChange((s) => {
    const t =
      [...s.shards.values()]
        .map((x) => `${x.id}:${x.owner}${x.movingTo ? ">" + x.movingTo : ""}#${x.assignment}`)
        .join(" ") +
      " | " +
      [...s.members.values()].map((m) => m.id + m.status).join(",");
    if (t !== last) {
      last = t;
      log(t);
    }
  });
  let last = "";
  const load = (async () => {
    while (!isOver) {
      const t0 = rig.scheduler.nowMs;
      try {
        await client.account(`x${done % 16}`).deposit({ cents: 1 });
      } catch (e) {
        log("ERR", `x${done % 16}`, t0, (e as Error).message);
      }
      done++;
      await rig.scheduler.sleep(5);
    }
  })();
  log("stop b");
  await rig.node("b").stop();
  log("stopped b");
  await rig.node("b").start();
  log("started b");
  await rig.settled();
  log("settled");
  await rig.node("c").stop();
  log("stopped c");
  isOver = true;
  await load;
});
