import pg from "pg";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { lookForContention } from "../../db/contention.ts";
import { openDb } from "../../db/pool.ts";
import { until } from "../../dev/until.ts";
import { testDatabase, type TestDatabase } from "../support/database.ts";
import { block } from "./pages.ts";

const PAGE = "runbooks/job-contention.md";

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});
afterAll(() => database.drop());

async function session(): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: database.url });
  await client.connect();
  onTestFinished(() => client.end());
  return client;
}

/** A row that everybody writes: one who holds it and sits there, and three who wait in turn. */
async function hotRow() {
  const looking = await session();
  await looking.query("drop table if exists hot; create table hot as select 1 as id, 0 as n");
  const head = await session();
  await head.query("begin");
  await head.query("update hot set n = n + 1 where id = 1");
  const pids = [(await head.query("select pg_backend_pid() as pid")).rows[0].pid as number];
  const waits: Promise<unknown>[] = [];
  for (let no = 1; no <= 3; no++) {
    const one = await session();
    pids.push((await one.query("select pg_backend_pid() as pid")).rows[0].pid);
    waits.push(one.query("update hot set n = n + 1 where id = 1"));
    const waiting = async () => {
      const { rows } = await looking.query(
        "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
      );
      return rows.length === no;
    };
    await until(waiting, 10_000, () => `${no} sessions do not wait`);
  }
  const over = async () => {
    await head.query("commit");
    await Promise.all(waits);
  };
  return { looking, pids, over };
}

test("the queries of the runbook show a hot row: who waits, how deep, who is at the head", async () => {
  const { looking, pids, over } = await hotRow();
  const [head, first] = pids as [number, number];
  const idle = async () => (await looking.query(block(PAGE, "sql idle-in-transaction"))).rows;
  await until(
    async () => (await idle()).length === 1,
    5_000,
    () => "nobody idle in transaction",
  );

  const pairs = (await looking.query(block(PAGE, "sql blocking-pairs"))).rows;
  expect(pairs).toContainEqual(
    expect.objectContaining({ waiting: first, blocked_by: head, state: "idle in transaction" }),
  );
  expect(new Set(pairs.map(({ waiting }) => waiting))).toEqual(new Set(pids.slice(1)));
  const [depth] = (await looking.query(block(PAGE, "sql chain-depth"))).rows;
  expect(Number(depth.sessions)).toBe(3);
  expect(depth.depth).toBeGreaterThanOrEqual(2);
  const heads = (await looking.query(block(PAGE, "sql chain-heads"))).rows;
  expect(heads).toMatchObject([{ pid: head, state: "idle in transaction" }]);
  expect(await idle()).toMatchObject([{ pid: head }]);
  const tables = (await looking.query(block(PAGE, "sql contended-tables"))).rows;
  expect(tables.map((row) => row.table)).toContain("hot");

  await over();
  for (const name of ["blocking-pairs", "chain-heads", "idle-in-transaction", "contended-tables"]) {
    expect((await looking.query(block(PAGE, `sql ${name}`))).rows, name).toEqual([]);
  }
  const [after] = (await looking.query(block(PAGE, "sql chain-depth"))).rows;
  expect(after).toEqual({ depth: 0, sessions: "0" });
});

test("what the load test looks at sees the same chain, and the idle head", async () => {
  const db = openDb({ url: database.url, size: 1 });
  onTestFinished(() => db.close());
  expect(await lookForContention(db)).toMatchObject({ depth: 0, waiting: 0 });
  const { over } = await hotRow();
  const seen = await lookForContention(db);
  expect(seen.waiting).toBe(3);
  expect(seen.depth).toBeGreaterThanOrEqual(2);
  expect(seen.idleInTransactionMs).toBeGreaterThan(0);
  await over();
  expect(await lookForContention(db)).toMatchObject({ depth: 0, waiting: 0 });
});
