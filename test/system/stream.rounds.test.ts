import { describe, expect, test } from "vitest";
import { until } from "../../dev/until.ts";
import { rounds } from "../support/rounds.ts";
import { streamSystem } from "../support/stream-system.ts";
import { acceptedSites, notOnce, siteNames, sites } from "../support/streaming.ts";

const streamed = await streamSystem();

describe.skipIf(!streamed.server)("a stream through longer crashes", () => {
  test("an acknowledgement that arrives and is not answered before the kill: all of it once", async () => {
    const names = await streamed.send(5, 20);
    const gate = await streamed.system.gate({ table: "entities", at: "commit" });
    const first = await streamed.worker();
    await gate.reached();
    streamed.proxy.lose("replies");
    await gate.open();
    await streamed.drained();
    await first.send("SIGKILL");
    streamed.proxy.heal();
    names.push(...(await streamed.send(5, 20)));
    await streamed.worker();
    await streamed.drained();
    expect(await notOnce(streamed.system.db, names)).toEqual([]);
  });

  test("Postgres killed in the transaction and gone for a while: no message is charged or lost", async () => {
    const names = await streamed.send(20, 50);
    const gate = await streamed.system.gate({ table: "entities", nth: 200 });
    await streamed.worker({ maxDeliveries: 2, claimIdleMs: 300 });
    await streamed.worker({ maxDeliveries: 2, claimIdleMs: 300 });
    await gate.reached();
    await streamed.system.stack.postgres!.stop("kill");
    names.push(...(await streamed.send(5, 5)));
    // Long enough that what lies idle could be taken over more often than a message may be delivered.
    const awayUntil = performance.now() + 3_000;
    await until(
      () => performance.now() > awayUntil,
      5_000,
      () => "",
    );
    await streamed.system.stack.postgres!.start();
    await gate.remove().catch(() => undefined);
    await streamed.drained();
    expect(await notOnce(streamed.system.db, names)).toEqual([]);
    const { rows } = await streamed.system.db.query("select code from holdfast.inbox_rejects");
    expect(rows).toEqual([]);
  });

  rounds("workers killed at any moment: every entity once, whatever was sent", async (random) => {
    const names: string[] = [];
    let running = [await streamed.worker({ count: 10, coalesceRows: 60 })];
    for (let step = 0; step < 4; step++) {
      for (let no = random.between(10, 40); no > 0; no--) {
        const some = siteNames(random.between(1, 30));
        names.push(...some);
        const encoding = random.pick([undefined, "br", "gzip"] as const);
        await streamed.producer.send(sites(some), encoding && { encoding });
        if (random.between(1, 10) === 1) await streamed.producer.send("garbage");
      }
      const goal = random.between(0, names.length);
      await streamed.system.eventually(
        "some are taken",
        async () => (await acceptedSites(streamed.system.db)).size >= goal,
      );
      const [victim, ...others] = random.shuffle(running);
      const next = streamed.worker({ count: 10, coalesceRows: 60, consumer: `c${step}` });
      await victim!.send(random.pick(["SIGKILL", "SIGKILL", "SIGTERM"]));
      running = [...others, await next];
    }
    await streamed.drained();
    expect(await notOnce(streamed.system.db, names)).toEqual([]);
  });
});
