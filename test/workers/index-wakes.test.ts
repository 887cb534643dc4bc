import type pg from "pg";
import { setTimeout as pause } from "node:timers/promises";
import { expect, test } from "vitest";
import { readIndexLanes, waitedOf, waitedQuantile } from "../../db/index-lanes.ts";
import { until } from "../../dev/until.ts";
import { quietRuntime } from "../../workers/replay.ts";
import { drainWorkers } from "../support/drain-workers.ts";
import { ESTATE, RIGHT, scoreOf } from "../support/estate.ts";
import { connectedTo, estate } from "../support/estate-at-work.ts";
import type { Fresh } from "../support/fresh.ts";
import { marksLeft } from "../support/indexing.ts";
import { isFullRun } from "../support/rounds.ts";

const CONNECTIONS = 4;
/** Of the barrage; each is the end of drains and what is committed around it. */
const ENDS = isFullRun ? 100 : 4;
const COMMITS_PER_END = 200;
/** Less than the relay waits before it wakes drains that it believes to be at work. */
const SOON_MS = 8_000;

quietRuntime();

test("a thousand commits of one row wake workflows fifteen times at the most", async () => {
  const made = await estate();
  const workers = await drainWorkers({ db: made.db, config: ESTATE });
  await written(await connections(made), 1_000);
  await drained(made, 30_000);
  expect(await scoreOf(made.db)).toEqual(RIGHT);
  expect(workers.wakes()).toBeGreaterThan(0);
  expect(workers.wakes()).toBeLessThanOrEqual(15);
  const lanes = await readIndexLanes(made.db);
  expect(lanes.reduce((sum, lane) => sum + lane.applied, 0)).toBeGreaterThanOrEqual(1_000);
  expect(waitedQuantile(waitedOf(lanes), 0.5)).toBeLessThan(5);
}, 90_000);

test("control: without the relay nothing wakes them, and what is committed stays marked", async () => {
  const made = await estate();
  await drainWorkers({ db: made.db, config: ESTATE }, { relay: false });
  await written(await connections(made), 10);
  await expect(drained(made, 3_000)).rejects.toThrow("marks are left");
  expect(await scoreOf(made.db)).toMatchObject({ missing: 20 });
}, 60_000);

test(
  "of the commits around the end of a drain none waits for another to wake it",
  async () => {
    const made = await estate();
    const workers = await drainWorkers({ db: made.db, config: ESTATE, lingerMs: 0 });
    const apps = await connections(made);
    await written(apps, 4);
    for (let end = 0; end < ENDS; end++) {
      await drained(made, SOON_MS);
      // Now its activity answers and its workflow ends: before, meanwhile and after.
      await written(apps, COMMITS_PER_END, () => pause(Math.random() * 10));
    }
    await drained(made, SOON_MS);
    expect(await scoreOf(made.db)).toEqual(RIGHT);
    expect(workers.wakes()).toBeGreaterThan(ENDS);
  },
  60_000 + ENDS * 4_000,
);

const connections = (made: Fresh): Promise<pg.Client[]> =>
  Promise.all(Array.from({ length: CONNECTIONS }, () => connectedTo(made)));

let sites = 0;

/** Commits one row at a time, on all connections at once. */
async function written(
  apps: readonly pg.Client[],
  commits: number,
  between: () => Promise<unknown> = async () => undefined,
): Promise<void> {
  let left = commits;
  const write = async (app: pg.Client) => {
    while (left-- > 0) {
      await app.query("insert into main.sites (id, name, code) values ($1, 'one more', 'S')", [
        ++sites,
      ]);
      await between();
    }
  };
  await Promise.all(apps.map(write));
}

function drained({ db }: Fresh, withinMs: number): Promise<unknown> {
  return until(
    async () => (await marksLeft(db)) === 0,
    withinMs,
    () => "marks are left",
    2,
  );
}
