import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import type { Db } from "../../db/pool.ts";
import { openDb } from "../../db/pool.ts";
import { readNew } from "../../db/stream-group.ts";
import type { Loop } from "../../workers/loop.ts";
import { fresh } from "../support/fresh.ts";
import { redisForTests } from "../support/redis.ts";
import { GROUP, notOnce, siteNames, sites, streaming } from "../support/streaming.ts";

const server = await redisForTests();
afterAll(() => server?.stop());

type Step =
  | { step: "send"; messages: readonly number[]; encoding: "br" | "gzip" | undefined }
  | { step: "garbage" | "start" | "stop" | "dead" }
  | { step: "lose"; what: "redis" | "postgres" | "commit" | "group" };

const steps: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      step: fc.constant("send" as const),
      messages: fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 1, maxLength: 15 }),
      encoding: fc.constantFrom(undefined, "br" as const, "gzip" as const),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      step: fc.constantFrom("garbage" as const, "start" as const, "stop" as const, "dead" as const),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      step: fc.constant("lose" as const),
      what: fc.constantFrom(
        "redis" as const,
        "postgres" as const,
        "commit" as const,
        "group" as const,
      ),
    }),
  },
);

/** Commits that are made and whose maker does not hear of it: as many as `lost.next` says. */
function forgetful(db: Db, lost: { next: number }): Db {
  return {
    ...db,
    async transaction(work, options) {
      const done = await db.transaction(work, options);
      if (lost.next === 0) return done;
      lost.next--;
      throw Object.assign(new Error("Connection terminated unexpectedly"), { code: "08006" });
    },
  };
}

describe.skipIf(!server)("any program of sends, losses and ends", () => {
  test(
    "leaves every entity exactly once, and garbage put aside",
    { timeout: 300_000 },
    async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(steps, { minLength: 4, maxLength: 12 }), async (program) => {
          const { db, url } = await fresh();
          const own = openDb({ url, name: "consumers", size: 4 });
          const lost = { next: 0 };
          const { producer, redis, stream, consume, drained } = await streaming(server!.url, db);
          const names: string[] = [];
          const loops: Loop[] = [];
          let garbage = 0;
          const start = () =>
            loops.push(
              consume({ db: forgetful(own, lost), count: 7, coalesceRows: 40, claimIdleMs: 200 }),
            );
          try {
            start();
            for (const one of program) {
              switch (one.step) {
                case "send":
                  for (const n of one.messages) {
                    const some = siteNames(n);
                    names.push(...some);
                    await producer.send(sites(some), one.encoding && { encoding: one.encoding });
                  }
                  break;
                case "garbage":
                  await producer.send(`garbage ${garbage++}`);
                  break;
                case "start":
                  if (loops.length < 3) start();
                  break;
                case "stop":
                  await loops.shift()?.stop();
                  break;
                case "dead":
                  await readNew(redis, { stream, group: GROUP }, "dead", {
                    count: 3,
                    blockMs: 0,
                  }).catch(() => undefined);
                  break;
                case "lose":
                  if (one.what === "commit") lost.next = 2;
                  else if (one.what === "group")
                    await redis.xGroupDestroy(stream, GROUP).catch(() => 0);
                  else if (one.what === "redis") await loseRedis(redis);
                  else await losePostgres(db);
              }
            }
            if (loops.length === 0) start();
            await drained(60_000);
            expect(await notOnce(db, names)).toEqual([]);
            const { rows } = await db.query("select code from holdfast.inbox_rejects");
            expect(rows).toEqual(Array.from({ length: garbage }, () => ({ code: "undecodable" })));
            expect(await redis.xLen(stream)).toBe(0);
          } finally {
            await Promise.all(loops.map((loop) => loop.stop()));
            await own.close();
          }
        }),
        { numRuns: Number(process.env["HOLDFAST_CRASH_ROUNDS"] ?? 1) * 8, endOnFailure: true },
      );
    },
  );
});

async function loseRedis(redis: Awaited<ReturnType<typeof streaming>>["redis"]): Promise<void> {
  const list = String(await redis.sendCommand(["CLIENT", "LIST"]));
  for (const [, id] of list.matchAll(/id=(\d+) .* name=holdfast-consumer/g)) {
    await redis.sendCommand(["CLIENT", "KILL", "ID", id!]);
  }
}

async function losePostgres(db: Db): Promise<void> {
  await db.query(
    `select pg_terminate_backend(pid) from pg_stat_activity
      where application_name = 'consumers' and datname = current_database()`,
  );
}
