import { expect, test } from "vitest";
import { newContext } from "../../client/context.ts";
import { holdfastOver } from "../../client/index.ts";
import { sweepBuilds } from "../../db/index-sweep.ts";
import type { Db } from "../../db/pool.ts";
import { draining } from "../support/draining.ts";
import { ESTATE, estateSql, RIGHT, scoreOf } from "../support/estate.ts";
import { connectedTo, estate, reindexed } from "../support/estate-at-work.ts";
import type { Fresh } from "../support/fresh.ts";

/** Devices that are there all the time, whatever happens to them; every one is called an anchor. */
const ANCHORS = 12;
const REINDEXES = 2;
const DEVICES = { schemas: ["main"], types: ["device", "site"] };

test("who reads while objects are updated, made anew and reindexed never misses one that is live", async () => {
  const made = await anchored();
  const { db, holdfast } = made;
  const drains = draining({ db, config: ESTATE, each: 1 });
  await drains.settled();
  let isOver = false;
  let looks = 0;
  const misses: string[] = [];
  const looking = (name: string, look: () => Promise<number>) => async () => {
    for (; !isOver; looks++) {
      const found = await look();
      if (found !== ANCHORS) misses.push(`${name}: ${found}`);
    }
  };
  const readers = [
    looking("search", () => found(holdfast)),
    looking("search by field", () => found(holdfast, { types: ["device"], fields: ["name"] })),
    looking("rows", () => anchorsWithRows(db)),
  ];
  const apps = await Promise.all([1, 2].map(() => connectedTo(made)));
  let round = 0;
  const writers = apps.map((app) => async () => {
    while (!isOver) {
      const n = ++round;
      const id = 1 + (n % ANCHORS);
      // Refused where the other one holds the row: the next round is another object's.
      for (const sql of [
        `update main.devices set name = 'anchor ' || id || ' of ${n}' where id = ${id}`,
        `update main.sites set name = 'site of ${n}'`,
        `begin; delete from main.devices where id = ${id};
         insert into main.devices (id, name, status, site) values (${id}, 'anchor anew ${n}', 'active', 1); commit`,
        `update main.devices set name = 'anchor ' || id || ' all ' || ${n}, status = 'checked ${n}'`,
      ]) {
        await app.query(sql).catch(() => app.query("rollback"));
      }
    }
  });
  const reading = Promise.all([...readers, ...writers].map((run) => run()));
  try {
    for (let n = 0; n < REINDEXES; n++) {
      await reindexed(made, DEVICES);
      await sweepBuilds(db);
    }
  } finally {
    isOver = true;
  }
  await reading;
  expect(misses).toEqual([]);
  expect(looks).toBeGreaterThan(20);
  await drains.settled();
  expect(await scoreOf(db)).toEqual(RIGHT);
}, 60_000);

test("a search that began before a swap finds everything, although the old rows are gone when it reads", async () => {
  const made = await anchored();
  await draining({ db: made.db, config: ESTATE }).settled();
  let swaps = 0;
  const late: Db = {
    ...made.db,
    async transaction(work, options) {
      if (options?.readOnly && swaps++ === 0) {
        await reindexed(made, DEVICES);
        expect((await sweepBuilds(made.db)).rows).toBeGreaterThan(0);
      }
      return made.db.transaction(work, options);
    },
  };
  expect(await found(holdfastOver(newContext({ db: late, config: ESTATE })))).toBe(ANCHORS);
  expect(swaps).toBe(1);
}, 60_000);

async function anchored(): Promise<Fresh> {
  const made = await estate();
  await made.db.query(estateSql(3, ANCHORS / 3));
  await made.db.query("update main.devices set name = 'anchor ' || id, status = 'active'");
  return made;
}

async function found(
  { search }: Fresh["holdfast"],
  where: { types?: string[]; fields?: string[] } = { types: ["device"] },
): Promise<number> {
  const { items, total } = await search.query({ text: "anchor", schema: "main", ...where });
  expect(items).toHaveLength(total);
  return total;
}

async function anchorsWithRows(db: Db): Promise<number> {
  const { rows } = await db.query<{ n: number }>(
    `select count(distinct r.key)::int as n
       from holdfast.search_indexes i
       join holdfast.index_rows r
         on r.index_id = i.id and r.generation = i.generation and r.field = 'name'
      where i.schema_name = 'main' and i.type = 'device'`,
  );
  return rows[0]!.n;
}
