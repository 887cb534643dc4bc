import { expect, test } from "vitest";
import {
  countPullWorkersOnline,
  listPullWorkers,
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
  expect(await listPullWorkers(db, { tenants: ["u"] })).toHaveLength(2);
});
