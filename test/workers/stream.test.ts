import { afterAll, describe, expect, test } from "vitest";
import { findIngestRequest } from "../../db/inbox-requests.ts";
import { claimMessages, ensureGroup, groupLag, readNew } from "../../db/stream-group.ts";
import { until } from "../../dev/until.ts";
import { fresh } from "../support/fresh.ts";
import { redisForTests } from "../support/redis.ts";
import {
  acceptedSites,
  GROUP,
  notOnce,
  rejectsOf,
  site,
  siteNames,
  sites,
  streaming,
} from "../support/streaming.ts";

const server = await redisForTests();
afterAll(() => server?.stop());

async function setup() {
  const { db, url } = await fresh();
  return { db, url, ...(await streaming(server!.url, db)) };
}

describe.skipIf(!server)("a stream", () => {
  test("messages become requests with their entities, and are acknowledged and deleted", async () => {
    const { db, stream, producer, redis, consume, drained } = await setup();
    const [a, b, c] = siteNames(3) as [string, string, string];
    const id = await producer.send(sites([a, b]));
    await producer.send(sites([c]));
    consume();
    await drained();
    expect(await notOnce(db, [a, b, c])).toEqual([]);
    expect(await redis.xLen(stream)).toBe(0);
    const { rows } = await db.query<{ id: string }>(
      "select id from holdfast.ingest_requests where message_id like $1",
      [`${id}/%`],
    );
    expect(await findIngestRequest(db, rows[0]!.id)).toMatchObject({
      source: `redis:${stream}`,
      received: 2,
      accepted: 2,
      states: { queued: 2 },
    });
  });

  test("entries that were there before the group are read", async () => {
    const { db, producer, consume, drained } = await setup();
    const names = siteNames(250);
    for (const name of names) await producer.send(sites([name]));
    consume({ count: 20 });
    await drained();
    expect(await notOnce(db, names)).toEqual([]);
  });

  test("a list, an envelope of a list, lines and one entity are read, plain, brotli and gzip", async () => {
    const { db, producer, consume, drained } = await setup();
    const names = siteNames(9);
    const [a, b, c, d, e, f, g, h, i] = names as string[] & { 0: string; 1: string };
    await producer.send(sites([a]), { encoding: "br" });
    await producer.send(sites([b]), { encoding: "gzip" });
    await producer.send(JSON.stringify({ entities: [site(c!), site(d!)] }, undefined, 2));
    await producer.send(`${JSON.stringify(site(e!))}\n${JSON.stringify(site(f!))}`, {
      encoding: "br",
    });
    await producer.send(JSON.stringify(site(g!)));
    const untimed = { object_type: "site", entity: { name: h } };
    await producer.send(JSON.stringify([untimed, site(i!)]), {
      fields: { ingestion_ts: "1767225600123456789" },
    });
    consume();
    await drained();
    expect(await notOnce(db, names)).toEqual([]);
    const { rows } = await db.query(
      "select source_time from holdfast.entities where fields ->> 'name' = $1",
      [h],
    );
    expect(rows).toEqual([{ source_time: "2026-01-01T00:00:00.123456789Z" }]);
  });

  test("what cannot be read is put aside raw; what stands beside it is taken", async () => {
    const { db, redis, stream, producer, consume, drained } = await setup();
    const [a, b, c] = siteNames(3) as [string, string, string];
    const garbage = Buffer.from([0xff, 0, 0xfe, 10, 13]);
    await producer.send(sites([a]));
    await producer.send(garbage);
    await producer.send("not brotli", { fields: { encoding: "br" } });
    await producer.send("{", { fields: { encoding: "zip" } });
    await redis.xAdd(stream, "*", { other: "field" });
    const mixed = `${JSON.stringify(site(b))}\n{"timestamp":1}\n{"broken\n${JSON.stringify(site(c))}`;
    await producer.send(mixed);
    await producer.send(Buffer.alloc(5_000_000), { encoding: "br" });
    consume({ maxMessageBytes: 4_000_000 });
    await drained();
    expect(await notOnce(db, [a, b, c])).toEqual([]);
    const rejects = await rejectsOf(db);
    expect(rejects.map(({ no, code, why }) => `${no} ${code} ${why}`)).toEqual([
      "1 undecodable request is not UTF-8",
      "1 undecodable request is not br",
      "1 undecodable encoding must be br or gzip, or absent",
      "1 undecodable the message has no field request",
      "2 unknown-type names no type of the network registry",
      expect.stringMatching(/^3 not-json cannot be read: /),
      "1 undecodable request is longer than 4000000 bytes: send fewer entities in a message",
    ]);
    expect(rejects[0]!.raw).toEqual(garbage);
    expect(rejects[1]!.raw?.toString()).toBe("not brotli");
    expect(rejects[5]!.raw?.toString()).toBe('{"broken');
  });

  test("a message that Postgres refuses is put aside alone", async () => {
    const { db, producer, consume, drained } = await setup();
    const [a, poison, c] = siteNames(3) as [string, string, string];
    await db.query(
      `create function holdfast.refuse() returns trigger language plpgsql as
         $$ begin raise exception 'no such thing' using errcode = '22000'; end $$`,
    );
    await db.query(
      `create trigger refuse before insert on holdfast.entities for each row
         when (new.fields ->> 'name' = '${poison}') execute function holdfast.refuse()`,
    );
    for (const name of [a, poison, c]) await producer.send(sites([name]));
    consume();
    await drained();
    expect(await notOnce(db, [a, c])).toEqual([]);
    expect(await rejectsOf(db)).toEqual([
      {
        no: 1,
        code: "refused",
        raw: Buffer.from(sites([poison])),
        why: "Postgres refuses it: no such thing",
      },
    ]);
  });

  test("two consumers share a stream, and nothing is taken twice", async () => {
    const { db, producer, consume, drained, redis, stream } = await setup();
    const names = siteNames(600);
    consume({ consumer: "one", count: 10, coalesceMs: 0 });
    consume({ consumer: "two", count: 10, coalesceMs: 0 });
    for (const name of names) await producer.send(sites([name]));
    await drained();
    expect(await notOnce(db, names)).toEqual([]);
    const consumers = await redis.xInfoConsumers(stream, GROUP);
    expect(consumers.map(({ name }) => String(name)).toSorted()).toEqual(["one", "two"]);
  });

  test("what a dead consumer had is taken over once it has lain idle", async () => {
    const { db, redis, stream, producer, consume, drained, logged } = await setup();
    const names = siteNames(30);
    for (const name of names) await producer.send(sites([name]));
    await ensureGroup(redis, { stream, group: GROUP });
    await readNew(redis, { stream, group: GROUP }, "dead", { count: 20, blockMs: 0 });
    consume({ claimIdleMs: 300 });
    await drained();
    expect(await notOnce(db, names)).toEqual([]);
    expect(logged).toContain("30 messages are taken over");
  });

  test("a message that ends whoever reads it is put aside, and nobody else with it", async () => {
    const { db, redis, stream, producer, consume, drained } = await setup();
    const key = { stream, group: GROUP };
    const names = siteNames(5);
    for (const name of names) await producer.send(sites([name]));
    await ensureGroup(redis, key);
    const read = await readNew(redis, key, "dead", { count: 5, blockMs: 0 });
    const poison = read[2]!.id;
    for (let n = 0; n < 4; n++) await claimMessages(redis, key, "dead", [poison], 0);
    // Delivered twice, but not too often.
    await claimMessages(redis, key, "dead", [read[1]!.id], 0);
    consume({ consumer: "dead", maxDeliveries: 5 });
    await drained();
    expect(await notOnce(db, names.toSpliced(2, 1))).toEqual([]);
    expect(await rejectsOf(db)).toEqual([
      {
        no: 1,
        code: "delivered-too-often",
        raw: Buffer.from(sites([names[2]!])),
        why: expect.stringContaining("was delivered 5 times and never taken"),
      },
    ]);
  });

  test("5,000 entries that are acknowledged and not deleted neither count as lag nor are taken again", async () => {
    const { db, redis, stream, producer, consume, drained, pressure } = await setup();
    const key = { stream, group: GROUP };
    await ensureGroup(redis, key);
    await Promise.all(Array.from({ length: 5_000 }, () => producer.send(sites(["leftover"]))));
    const read = await readNew(redis, key, "other", { count: 5_000, blockMs: 0 });
    await redis.xAck(
      stream,
      GROUP,
      read.map(({ id }) => id),
    );
    expect(await redis.xLen(stream)).toBe(5_000);
    consume({ highLag: 100 });
    const [name] = siteNames(1) as [string];
    await producer.send(sites([name]));
    await drained();
    expect(await notOnce(db, [name])).toEqual([]);
    expect(pressure.pauseMs()).toBe(0);
    expect(await groupLag(redis, key)).toEqual({ lag: 0, pending: 0 });
  });

  test("what is acknowledged and not deleted is known when a new group reads it again", async () => {
    const { db, redis, stream, producer, consume, drained } = await setup();
    const names = siteNames(50);
    // Entries are acknowledged by the consumer, and put back as if their deletion had not happened.
    const ids: string[] = [];
    for (const name of names) ids.push(await producer.send(sites([name])));
    const loop = consume();
    await drained();
    await loop.stop();
    await redis.del(stream);
    for (const [no, id] of ids.entries()) await producer.send(sites([names[no]!]), { id });
    consume();
    await drained();
    expect(await notOnce(db, names)).toEqual([]);
    const { rows } = await db.query("select copies from holdfast.ingest_requests where copies > 0");
    expect(rows).toEqual([]);
    expect(await redis.xLen(stream)).toBe(0);
  });

  test("when Redis has lost everything the group is made again, and what is sent then is taken", async () => {
    const { db, redis, producer, consume, drained, logged } = await setup();
    const [a, b] = siteNames(2) as [string, string];
    consume();
    await producer.send(sites([a]));
    await drained();
    await redis.flushAll();
    await producer.send(sites([b]));
    await until(
      async () => (await acceptedSites(db)).has(b),
      10_000,
      () => `not taken: ${logged.join("; ")}`,
    );
    await drained();
    expect(await notOnce(db, [a, b])).toEqual([]);
  });

  test("the same entry given out again after a flush of the group is known, another with its id is not", async () => {
    const { db, redis, stream, producer, consume, drained } = await setup();
    const [a, b] = siteNames(2) as [string, string];
    consume();
    await producer.send(sites([a]), { id: "7-1" });
    await drained();
    await redis.del(stream);
    await producer.send(sites([a]), { id: "7-1" });
    await drained();
    await redis.del(stream);
    await producer.send(sites([b]), { id: "7-1" });
    await until(
      async () => (await acceptedSites(db)).has(b),
      10_000,
      () => "the other one is not taken",
    );
    await drained();
    const { rows } = await db.query("select copies from holdfast.ingest_requests");
    expect(rows).toEqual([{ copies: 0 }, { copies: 0 }]);
    expect(await notOnce(db, [a, b])).toEqual([]);
  });

  test("while the inbox is full the stream keeps what comes, and is read on when there is room", async () => {
    const { db, stream, redis, producer, consume, drained, logged } = await setup();
    const names = siteNames(60);
    consume({ count: 1, coalesceMs: 0, coalesceRows: 1, config: { inventory: { maxQueued: 20 } } });
    for (const name of names.slice(0, 30)) await producer.send(sites([name]));
    await until(
      () => logged.some((line) => line.includes("the inbox is full")),
      10_000,
      () => `it never rests ${logged.join("; ")}`,
    );
    for (const name of names.slice(30)) await producer.send(sites([name]));
    const before = (await acceptedSites(db)).size;
    expect(before).toBeLessThan(60);
    expect((await groupLag(redis, { stream, group: GROUP }))!.lag).toBe(60 - before);
    while ((await acceptedSites(db)).size < 60 || (await redis.xLen(stream)) > 0) {
      await db.query(`update holdfast.entities set state = 5, settled_at = now() where state = 1`);
    }
    await drained();
    expect(await notOnce(db, names)).toEqual([]);
    expect(logged).toContain("30 the inbox has room again; the stream is read on");
  });

  test("planning takes turns while the stream lags, and only then; it is slowed down, never stopped", async () => {
    const { producer, pressure, consume, drained, logged } = await setup();
    const names = siteNames(400);
    await Promise.all(names.map((name) => producer.send(sites([name]))));
    expect(pressure.pauseMs()).toBe(0);
    const loop = consume({ highLag: 300, lowLag: 10, count: 5, coalesceRows: 5, coalesceMs: 0 });
    await until(
      () => pressure.pauseMs() > 0,
      10_000,
      () => "no pressure",
    );
    expect(pressure.pauseMs()).toBeLessThanOrEqual(1_000);
    await drained(30_000);
    await until(
      () => pressure.pauseMs() === 0,
      10_000,
      () => "it never ends",
    );
    await loop.stop();
    expect(logged.filter((line) => line.includes("lags") || line.includes("caught up"))).toEqual([
      "40 the stream lags; planning takes turns",
      "30 the stream has caught up",
    ]);
  });

  test("a consumer that is stopped ends at once, with what it was writing, and leaves no name behind", async () => {
    const { db, redis, stream, producer, consume, drained } = await setup();
    const names = siteNames(2_000);
    const loop = consume();
    await producer.send(sites(names));
    await drained();
    const startedAt = performance.now();
    await loop.stop();
    expect(performance.now() - startedAt).toBeLessThan(500);
    expect(await notOnce(db, names)).toEqual([]);
    expect(await redis.xInfoConsumers(stream, GROUP)).toEqual([]);
  });
});
