import { expect, test } from "vitest";
import { expireDueLeases } from "../../db/job-leases.ts";
import { listResults } from "../../db/job-results.ts";
import { freshDb } from "../support/fresh-db.ts";
import { disconnectAt, type Obstacle } from "../support/gate.ts";
import { aJob, claimed, countsOf, passLease, post, results } from "../support/jobs.ts";

/** Where a post can die: at each of its statements, at its commit, and behind it. */
const POINTS: readonly [string, Obstacle][] = [
  ["before its first result is settled", { table: "outcomes" }],
  ["in the middle of the ledger", { table: "outcomes", nth: 5 }],
  ["in the middle of the results", { table: "job_results", nth: 7 }],
  ["when it counts", { table: "progress_deltas" }],
  ["at its commit", { table: "outcomes", at: "commit", nth: 10 }],
  ["when its batch is closed, after its commit", { table: "job_batches", on: "update" }],
];

test.each(POINTS)(
  "a post that dies %s is posted again with its key, and every item counts once",
  async (_, point) => {
    const { db, url } = await freshDb();
    const id = await aJob(db, { items: 10 });
    const [lease] = await claimed(db, "w");
    const posting = () => post(db, id, results(lease!), { repeatKey: "once" });

    const remove = await disconnectAt(url, point);
    await expect(posting()).rejects.toThrow();
    await remove();

    expect(await posting()).toMatchObject({ accepted: 10, duplicate: 0 });
    expect(await countsOf(db, id)).toEqual({ "job/succeeded": 10, "sums/seen": 20 });
    expect((await listResults(db, id, { limit: 50 })).items).toHaveLength(10);

    // What the post left open is nothing that anybody would have to work again.
    await passLease(db);
    await expireDueLeases(db);
    expect(await claimed(db, "v")).toEqual([]);
    expect(await countsOf(db, id)).toMatchObject({ "job/succeeded": 10 });
  },
);
