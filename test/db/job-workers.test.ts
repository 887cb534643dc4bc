import { expect, test } from "vitest";
import {
  countPullWorkersOnline,
  listPullWorkers,
  listPullWorkersOf,
  markPullWorkersSeen,
} from "../../db/job-workers.ts";
import { fresh } from "../support/fresh.ts";
import { aJob, claimed } from "../support/jobs.ts";

test("a worker is online for a minute after it was seen, by its key and name, and for what it pulls", async () => {
  const { db } = await fresh();
  await aJob(db, { items: 20, pipeline: "a" });
  await markPullWorkersSeen(db, [
    { key: "key", worker: "one", pipelines: ["b", "a", "b"] },
    { key: "key", worker: "two", pipelines: ["a"], tenants: ["t"] },
    { key: "other", worker: "one", pipelines: ["b"] },
  ]);
  await claimed(db, "one", { pipelines: ["a"] });
  const seenAgo = (seconds: number) =>
    db.query(
      "update holdfast.job_workers set seen_at = clock_timestamp() - $1 * interval '1 second'",
      [seconds],
    );
  const online = async () => [
    await countPullWorkersOnline(db, "a", "default"),
    await countPullWorkersOnline(db, "a", "t"),
    await countPullWorkersOnline(db, "b", "default"),
  ];
  expect(await online()).toEqual([1, 2, 2]);
  await seenAgo(59);
  expect(await online()).toEqual([1, 2, 2]);
  await seenAgo(61);
  expect(await online()).toEqual([0, 0, 0]);

  // Seen again by a request that names no pipeline: what it pulls is as it was.
  await markPullWorkersSeen(db, [{ key: "key", worker: "one", pipelines: [] }]);
  expect(await online()).toEqual([1, 1, 1]);
  expect(await listPullWorkers(db, { pipeline: "a" })).toMatchObject([
    { key: "key", worker: "one", pipelines: ["a", "b"], tenants: null, online: true, held: 1 },
    { key: "key", worker: "two", pipelines: ["a"], tenants: ["t"], online: false, held: 0 },
  ]);
});

test("who may see some tenants is told of a worker of others only what concerns these", async () => {
  const { db } = await fresh();
  await aJob(db, { items: 20, pipeline: "theirs", tenant: "a" });
  await aJob(db, { items: 20, pipeline: "theirs", tenant: "b" });
  await aJob(db, { items: 20, pipeline: "b-private", tenant: "b" });
  await markPullWorkersSeen(db, [
    { key: "all", worker: "w", pipelines: ["theirs", "b-private", "nobody's"] },
    { key: "two", worker: "w", tenants: ["a", "b"], pipelines: ["b-private", "theirs"] },
    { key: "own", worker: "w", tenants: ["a"], pipelines: ["theirs", "idle"] },
    { key: "other", worker: "w", tenants: ["b"], pipelines: ["theirs"] },
    { key: "elsewhere", worker: "w", pipelines: ["b-private"] },
  ]);
  await claimed(db, "w", { key: "all", pipelines: ["theirs", "b-private"], limit: 4 });
  const seen = async (filter: Parameters<typeof listPullWorkersOf>[2] = {}) =>
    (await listPullWorkersOf(db, ["a"], filter))
      .map(({ key, tenants, pipelines, held }) => ({ key, tenants, pipelines, held }))
      .toSorted(
        (one, other) => other.held - one.held || one.pipelines.length - other.pipelines.length,
      );
  const { rows } = await db.query<{ held: number }>(
    `select count(*)::int as held from holdfast.job_batches b
       join holdfast.jobs j using (operation_id) where b.state = 'leased' and j.tenant = 'a'`,
  );
  expect(rows[0]!.held).toBeGreaterThan(0);
  expect(rows[0]!.held).toBeLessThan(4);
  const shared = { tenants: ["a"], pipelines: ["theirs"] };
  expect(await seen()).toEqual([
    { key: null, ...shared, held: rows[0]!.held },
    { key: null, ...shared, held: 0 },
    { key: "own", tenants: ["a"], pipelines: ["theirs", "idle"].toSorted(), held: 0 },
  ]);
  expect(await seen({ pipeline: "b-private" })).toEqual([]);
  expect(await seen({ pipeline: "theirs" })).toHaveLength(3);
  expect((await seen({ key: "two" })).map(({ key }) => key)).toContain("two");
});
