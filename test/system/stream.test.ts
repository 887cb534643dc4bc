import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { groupLag } from "../../db/stream-group.ts";
import { closeRedis, openRedis, type Redis } from "../../db/redis.ts";
import { streamProducer, type StreamProducer } from "../../dev/stream-producer.ts";
import { until } from "../../dev/until.ts";
import { fileURLToPath } from "node:url";
import type { StreamConfig } from "../../contracts/stream.ts";
import { startProxy, type Proxy } from "../support/proxy.ts";
import { freshKey, redisForTests } from "../support/redis.ts";
import { rounds } from "../support/rounds.ts";
import { acceptedSites, GROUP, notOnce, siteNames, sites } from "../support/streaming.ts";
import { startSystem, type System } from "../support/system.ts";

const CONFIG = fileURLToPath(new URL("fixtures/streamed.config.ts", import.meta.url));
const server = await redisForTests();

let system: System;
let proxy: Proxy;
let stream: string;
let producer: StreamProducer;
let redis: Redis;
beforeAll(async () => (system = await startSystem()));
beforeEach(async () => {
  proxy = await startProxy(`127.0.0.1:${server!.port}`);
  stream = freshKey();
  producer = await streamProducer(server!.url, stream);
  redis = openRedis(server!.url, "test");
  await redis.connect();
});
afterEach(async () => {
  producer.close();
  closeRedis(redis);
  await system.tidy();
  await proxy.stop();
  await system.forget();
});
afterAll(async () => {
  await system.stop();
  await server?.stop();
});

/** A worker that reads the stream through the proxy; what others leave it takes over soon. */
function worker(how: Partial<StreamConfig> = {}) {
  const url = server!.url.replace(/127\.0\.0\.1:\d+$/, proxy.address);
  process.env["STREAMED"] = JSON.stringify([{ stream, url, claimIdleMs: 1_000, ...how }]);
  return system.worker({ config: CONFIG });
}

/** Over servers that may be away. */
function drained(withinMs = 60_000): Promise<void> {
  return system.eventually(
    `${stream} is drained`,
    async () => {
      const client = openRedis(server!.url, "test");
      try {
        await client.connect();
        const left = await groupLag(client, { stream, group: GROUP });
        return left?.lag === 0 && left.pending === 0 && (await client.xLen(stream)) === 0;
      } finally {
        closeRedis(client);
      }
    },
    withinMs,
  );
}

async function send(messages: number, entities: number): Promise<string[]> {
  const names: string[] = [];
  for (let no = 0; no < messages; no++) {
    const some = siteNames(entities);
    names.push(...some);
    await producer.send(sites(some));
  }
  return names;
}

describe.skipIf(!server)("a stream through crashes", () => {
  test("a worker killed between commit and acknowledgement: all of it once", async () => {
    const names = await send(20, 50);
    // Held before it commits, so that the way back is closed in time.
    const gate = await system.gate({ table: "entities", at: "commit" });
    const first = await worker();
    await gate.reached();
    proxy.lose("requests");
    await gate.open();
    await system.eventually(
      "it is committed",
      async () => (await acceptedSites(system.db)).size > 0,
    );
    expect((await groupLag(redis, { stream, group: GROUP }))!.pending).toBeGreaterThan(0);
    await first.send("SIGKILL");
    proxy.heal();
    await worker();
    await drained();
    expect(await notOnce(system.db, names)).toEqual([]);
  });

  test("a worker killed in its transaction: nothing of it is there, then all of it once", async () => {
    const names = await send(10, 50);
    const gate = await system.gate({ table: "entities", nth: 300 });
    const first = await worker();
    await gate.reached();
    await first.send("SIGKILL");
    await gate.open();
    expect((await acceptedSites(system.db)).size).toBe(0);
    await worker();
    await drained();
    expect(await notOnce(system.db, names)).toEqual([]);
  });

  test("an acknowledgement that arrives and is not answered before the kill: all of it once", async () => {
    const names = await send(5, 20);
    const gate = await system.gate({ table: "entities", at: "commit" });
    const first = await worker();
    await gate.reached();
    proxy.lose("replies");
    await gate.open();
    await drained();
    await first.send("SIGKILL");
    proxy.heal();
    names.push(...(await send(5, 20)));
    await worker();
    await drained();
    expect(await notOnce(system.db, names)).toEqual([]);
  });

  test("Postgres killed in the transaction and gone for a while: no message is charged or lost", async () => {
    const names = await send(20, 50);
    const gate = await system.gate({ table: "entities", nth: 200 });
    await worker({ maxDeliveries: 2, claimIdleMs: 300 });
    await worker({ maxDeliveries: 2, claimIdleMs: 300 });
    await gate.reached();
    await system.stack.postgres!.stop("kill");
    names.push(...(await send(5, 5)));
    // Long enough that what lies idle could be taken over more often than a message may be delivered.
    const awayUntil = performance.now() + 3_000;
    await until(
      () => performance.now() > awayUntil,
      5_000,
      () => "",
    );
    await system.stack.postgres!.start();
    await gate.remove().catch(() => undefined);
    await drained();
    expect(await notOnce(system.db, names)).toEqual([]);
    const { rows } = await system.db.query("select code from holdfast.inbox_rejects");
    expect(rows).toEqual([]);
  });

  test("Redis killed and started again on its file: it goes on where it was", async () => {
    const names = await send(100, 10);
    await worker({ count: 5, coalesceRows: 50, coalesceMs: 0 });
    await system.eventually("it has begun", async () => (await acceptedSites(system.db)).size > 0);
    await server!.restart("SIGKILL");
    producer.close();
    producer = await streamProducer(server!.url, stream);
    names.push(...(await send(20, 10)));
    await drained();
    expect(await notOnce(system.db, names)).toEqual([]);
  });

  rounds("workers killed at any moment: every entity once, whatever was sent", async (random) => {
    const names: string[] = [];
    let running = [await worker({ count: 10, coalesceRows: 60 })];
    for (let step = 0; step < 4; step++) {
      for (let no = random.between(10, 40); no > 0; no--) {
        const some = siteNames(random.between(1, 30));
        names.push(...some);
        const encoding = random.pick([undefined, "br", "gzip"] as const);
        await producer.send(sites(some), encoding && { encoding });
        if (random.between(1, 10) === 1) await producer.send("garbage");
      }
      const goal = random.between(0, names.length);
      await system.eventually(
        "some are taken",
        async () => (await acceptedSites(system.db)).size >= goal,
      );
      const [victim, ...others] = random.shuffle(running);
      const next = worker({ count: 10, coalesceRows: 60, consumer: `c${step}` });
      await victim!.send(random.pick(["SIGKILL", "SIGKILL", "SIGTERM"]));
      running = [...others, await next];
    }
    await drained();
    expect(await notOnce(system.db, names)).toEqual([]);
  });
});
