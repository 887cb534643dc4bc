import { connect, type EntityInput } from "../client/index.ts";
import { freePort } from "../dev/free-port.ts";
import { spawnWorker } from "../dev/spawn-worker.ts";
import { until } from "../dev/until.ts";
import { median, ratio } from "./figures.ts";
import type { Frame } from "./frame.ts";
import { inTurn, timed } from "./in-turn.ts";
import { feedLine } from "./inventory-feed.ts";
import { INVENTORY_CONFIG } from "./plan-scene.ts";
import config from "./inventory.config.ts";

/**
 * Taking in for a target that refuses every connection, while a worker goes on trying; and the same while
 * that worker is halted.
 */
export async function measureTargetDown(frame: Frame): Promise<void> {
  const stack = await frame.stack();
  const databaseUrl = await frame.database(stack);
  const holdfast = connect({ databaseUrl, config, poolSize: 1 });
  frame.atEnd(() => holdfast.close());
  const worker = await spawnWorker({
    databaseUrl,
    temporalAddress: stack.temporalAddress,
    namespace: stack.namespace,
    config: INVENTORY_CONFIG,
    // Nobody listens on a port that was free a moment ago.
    environment: { ...process.env, BENCH_TARGET_URL: `http://127.0.0.1:${await freePort()}` },
  });
  frame.atEnd(() => worker.send("SIGKILL"));
  await worker.ready;

  const { db, inbox, inventory } = holdfast;
  const size = frame.quick ? 5_000 : 100_000;
  const messages: EntityInput[][] = [];
  for (let no = 0; no < size; no++) {
    if (no % 1_000 === 0) messages.push([]);
    messages.at(-1)!.push(JSON.parse(feedLine(no)) as EntityInput);
  }
  const takeIn = async (tenant: string) => {
    await inventory.settings.set(tenant, { target: "outside", defaultBranch: "main" });
    await db.query("checkpoint");
    const ms = await timed(async () => {
      for (const entities of messages) await inbox.ingest(entities, { tenant });
    });
    return (size * 1_000) / ms;
  };
  const failures = async () => {
    const { rows } = await db.query<{ n: number }>(
      "select coalesce(sum(failures), 0)::int as n from holdfast.targets",
    );
    return rows[0]!.n;
  };
  await inventory.settings.set("first", { target: "outside", defaultBranch: "main" });
  await inbox.ingest(messages[0]!, { tenant: "first" });
  await until(
    async () => (await failures()) > 0,
    120_000,
    () => `the worker does not try:\n${worker.lines().slice(-5).join("\n")}`,
  );

  const tries: number[] = [];
  const seen = await inTurn(frame.quick ? 1 : 5, {
    async trying(round) {
      await worker.send("SIGCONT");
      // As often as it ever tries: the wait grows from one try to the next.
      await db.query(
        "update holdfast.targets set failures = 0, error = null, failing_since = null, retry_at = null",
      );
      const perSecond = await takeIn(`trying-${round}`);
      tries.push(await failures());
      await worker.send("SIGSTOP");
      return perSecond;
    },
    async halted(round) {
      await worker.send("SIGSTOP");
      return takeIn(`halted-${round}`);
    },
  });
  await worker.send("SIGCONT");
  frame.measure("while the target is down", median(seen.trying), "entities/s");
  frame.measure("the same, and nobody tries", median(seen.halted), "entities/s");
  const of = 100 * ratio(seen.trying, seen.halted);
  frame.measure("while the target is down, of it", of, "%", { atLeast: 90 });
  frame.measure("tries of the worker meanwhile, a round", median(tries), "tries");
  await frame.close();
}
