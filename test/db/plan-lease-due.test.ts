import { expect, test } from "vitest";
import { leaseEntities } from "../../db/plan-lease.ts";
import { NEXT_PLACE, nextTargetPlace, targetDrainIsDue } from "../../db/plan-lease-due.ts";
import { releaseLease } from "../../db/plan-lease-hold.ts";
import type { Db, Queryable } from "../../db/pool.ts";
import { claimDrainsToWake } from "../../db/relay.ts";
import { HOUR, insertMany, MANY, pagesOf } from "../support/many-entities.ts";
import { targeting } from "../support/targeting.ts";

const AT = { target: "outside", lane: 0, lanes: 1 };
const options = { limit: 100, leaseSeconds: 60 };
const DRAIN = `select count(*) from holdfast.drains d where ${targetDrainIsDue("d")}`;

/** A connection that notes the pages of what only reads. */
function noting(db: Db, pages: number[]): Db {
  const note = (tx: Queryable) => ({
    async query(sql: string, values: unknown[] = []) {
      if (!sql.includes("update holdfast.")) pages.push(await pagesOf(tx, sql, values));
      return tx.query(sql, values);
    },
  });
  const transaction: Db["transaction"] = (work) =>
    db.transaction((tx) => work(note(tx) as unknown as typeof tx));
  return { transaction } as Db;
}

async function hold(db: Db, branch: string): Promise<void> {
  await db.query(
    `insert into holdfast.inventory_guards (tenant, branch, objects, held_at, held_because)
     values ('a', $1, 1, clock_timestamp(), 'test')`,
    [branch],
  );
}

/** As they were when nothing waited and nothing was queued. */
async function analyzeSettled(db: Db): Promise<void> {
  await insertMany(db, 1_000_000, 2_000, { tenant: "'z'" });
  await db.query("update holdfast.entities set state = 3, settled_at = clock_timestamp()");
  await db.query("analyze holdfast.entities");
}

test.each(["none", "stale", "fresh"] as const)(
  "what is due for a target is found by a few probes however much is held, waits or is claimed; statistics: %s",
  async (known) => {
    const { db } = await targeting();
    await db.query("alter table holdfast.entities set (autovacuum_enabled = off)");
    if (known === "stale") await analyzeSettled(db);
    await insertMany(db, 0, MANY, { branch: "held" });
    await insertMany(db, 100_000, MANY, { branch: "later", due: HOUR });
    await insertMany(db, 200_000, 10_000, { branch: "claimed", lease: HOUR });
    await hold(db, "held");
    if (known === "fresh") await db.query("analyze holdfast.entities");
    const expectFew = async () => {
      expect(await pagesOf(db, DRAIN), "drain").toBeLessThan(100);
      const next = await pagesOf(db, NEXT_PLACE, ["outside", 0, 1, "", ""]);
      expect(next, "next").toBeLessThan(100);
    };
    await expectFew();
    expect(await nextTargetPlace(db, AT)).toBeUndefined();
    expect(await claimDrainsToWake(db)).toEqual([]);
    const release: number[] = [];
    await noting(db, []).transaction((tx) =>
      releaseLease(
        {
          query: async (sql: string, values: unknown[]) => {
            release.push(await pagesOf(tx, sql, values));
            return { rowCount: 0 };
          },
        } as unknown as Queryable,
        "2",
      ),
    );
    expect(release[0], "release").toBeLessThan(400);
    // A claim that is over, and something that is queued behind it.
    await insertMany(db, 300_000, 1, { branch: "over", lease: "clock_timestamp()" });
    await expectFew();
    expect(await nextTargetPlace(db, AT)).toEqual({ tenant: "a", branch: "over" });
    await insertMany(db, 300_001, 1, { branch: "then" });
    expect(await nextTargetPlace(db, AT, { tenant: "a", branch: "over" })).toEqual({
      tenant: "a",
      branch: "then",
    });
    expect(await claimDrainsToWake(db)).toHaveLength(4);
    const pages: number[] = [];
    const place = { tenant: "a", branch: "over" };
    expect((await leaseEntities(noting(db, pages), place, AT, options))?.entities).toHaveLength(1);
    expect(Math.max(...pages), "claim").toBeLessThan(800);
  },
  120_000,
);

test.each(["none", "stale", "fresh"] as const)(
  "what waits behind an older version starves nothing behind it, and waits as long; statistics: %s",
  async (known) => {
    const { db } = await targeting();
    await db.query("alter table holdfast.entities set (autovacuum_enabled = off)");
    if (known === "stale") await analyzeSettled(db);
    await insertMany(db, 0, MANY, { due: HOUR });
    await insertMany(db, 100_000, 1_500);
    await insertMany(db, 200_000, 100, { lease: "clock_timestamp()" });
    await insertMany(db, 300_000, MANY + 1);
    await db.query("delete from holdfast.entities where id between 300001 and 350000");
    if (known === "fresh") await db.query("analyze holdfast.entities");
    const pages: number[] = [];
    const place = { tenant: "a", branch: "main" };
    const leased = await leaseEntities(noting(db, pages), place, AT, options);
    expect(leased?.entities.map(({ id }) => id)).toEqual(["350001"]);
    expect(Math.max(...pages)).toBeLessThan(1_500);
    await db.query("analyze holdfast.entities");
    const { rows } = await db.query(
      `select count(*)::int as n from holdfast.entities e
         join holdfast.entities o on o.identity = e.identity and o.id <= ${MANY}
        where e.id between 100001 and 200100 and e.state = 9 and e.token is null
          and e.lease_until is null and (e.due_at, e.waits_for) = (o.due_at, o.waits_for)`,
    );
    expect(rows).toEqual([{ n: 1_600 }]);
    expect(await leaseEntities(db, place, AT, options)).toBeUndefined();
    expect(await nextTargetPlace(db, AT)).toBeUndefined();
  },
  120_000,
);
