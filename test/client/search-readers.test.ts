import { expect, test } from "vitest";
import { newContext } from "../../client/context.ts";
import { holdfastOver } from "../../client/index.ts";
import { sweepBuilds } from "../../db/index-sweep.ts";
import type { Db } from "../../db/pool.ts";
import { until } from "../../dev/until.ts";
import { draining } from "../support/draining.ts";
import { ESTATE, estateSql, RIGHT, scoreOf } from "../support/estate.ts";
import { connectedTo, estate, reindexed } from "../support/estate-at-work.ts";
import type { Fresh } from "../support/fresh.ts";
import { clearingFirst } from "../support/seams.ts";

/** Devices that are there all the time, whatever happens to them; every one is called an anchor. */
const ANCHORS = 12;
const REINDEXES = 2;
const DEVICES = { schemas: ["main"], types: ["device", "site"] };

test("who reads while objects are updated, made anew and reindexed never misses one that is live", async () => {
  const made = await anchored();
  const drains = draining({ db: made.db, config: ESTATE, each: 1 });
  await drains.settled();
  const { misses, looks } = await missesDuring(made, async () => {
    for (let n = 0; n < REINDEXES; n++) {
      await reindexed(made, DEVICES);
      await sweepBuilds(made.db);
    }
  });
  expect(misses).toEqual([]);
  expect(looks).toBeGreaterThan(20);
  await drains.settled();
  expect(await scoreOf(made.db)).toEqual(RIGHT);
}, 60_000);

test("control: of a drain that clears before it writes, readers miss some", async () => {
  const made = await anchored();
  const drains = draining({ db: clearingFirst(made.db), config: ESTATE, each: 1 });
  await drains.settled();
  const isSeen = (misses: readonly string[]) =>
    until(
      () => misses.length > 0,
      30_000,
      () => "nothing was missed",
    );
  await missesDuring(made, isSeen);
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

/** Reads and writes for as long as `work` takes. */
async function missesDuring(
  made: Fresh,
  work: (misses: readonly string[]) => Promise<unknown>,
): Promise<{ misses: string[]; looks: number }> {
  const { db, holdfast } = made;
  let isOver = false;
  let looks = 0;
  const misses: string[] = [];
  const reading = async (name: string, look: () => Promise<number>) => {
    for (; !isOver; looks++) {
      const seen = await look();
      if (seen !== ANCHORS) misses.push(`${name}: ${seen}`);
    }
  };
  const app = await connectedTo(made);
  const writing = async () => {
    for (let n = 0; !isOver; n++) {
      const id = 1 + (n % ANCHORS);
      await app.query(`update main.devices set name = 'anchor ${id} of ${n}' where id = ${id}`);
      await app.query(`update main.sites set name = 'site of ${n}'`);
      await app.query(
        `begin; delete from main.devices where id = ${id};
         insert into main.devices (id, name, status, site) values (${id}, 'anchor anew ${n}', 'active', 1);
         commit`,
      );
      await app.query(`update main.devices set name = 'anchor ' || id || ' in ${n}'`);
    }
  };
  const all = Promise.all([
    reading("search", () => found(holdfast)),
    reading("search by field", () => found(holdfast, { types: ["device"], fields: ["name"] })),
    reading("rows", () => anchorsWithRows(db)),
    writing(),
  ]);
  try {
    await work(misses);
  } finally {
    isOver = true;
  }
  await all;
  return { misses, looks };
}

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
