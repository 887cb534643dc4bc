import { expect, test } from "vitest";
import {
  claimDrainsToWake,
  claimForRelay,
  clearWakes,
  markDrainSeen,
  type Claimed,
} from "../../db/relay.ts";
import type { Db } from "../../db/pool.ts";
import { liftBrake, setBrake } from "../../db/brakes.ts";
import { markRunning } from "../../db/operations.ts";
import { fresh } from "../support/fresh.ts";
import { insertOperationRows, type OperationColumns } from "../support/rows.ts";

const LIMITS = { batch: 50, maxRunning: 200, maxRunningPerScope: 4 };

const times = (n: number, row: OperationColumns): OperationColumns[] =>
  Array.from({ length: n }, () => row);

const starts = (claimed: readonly Claimed[]) => claimed.filter(({ verb }) => verb === "start");

const scopesOf = (claimed: readonly Claimed[]) =>
  starts(claimed).map(({ tenant, scope }) => `${tenant}/${scope}`);

async function begin(db: Db, claimed: readonly Claimed[]): Promise<void> {
  for (const { id, generation } of starts(claimed)) await markRunning(db, id, generation);
}

/** The rows of a claim come due again, as after its back-off. */
async function passBackOff(db: Db): Promise<void> {
  await db.query(
    "update holdfast.operations set due_at = clock_timestamp() where state = 'accepted'",
  );
}

test("relays that claim at the same time never claim a row twice within its back-off", async () => {
  const { db } = await fresh();
  const rows = Array.from({ length: 120 }, (_, index) => ({ scope: `bank-${index % 40}` }));
  await insertOperationRows(db, rows);
  const claims = await Promise.all(
    Array.from({ length: 30 }, (_, index) =>
      claimForRelay(db, LIMITS, { tenant: "default", scope: `bank-${index}` }),
    ),
  );
  const ids = claims.flat().map((row) => row.id);
  expect(ids.length).toBeGreaterThan(40);
  expect(new Set(ids).size).toBe(ids.length);
});

test("a claim that reached nobody is claimed again after its back-off, which grows to a minute", async () => {
  const { db } = await fresh();
  await insertOperationRows(db, [{}]);
  const waits: number[] = [];
  for (let attempt = 1; attempt <= 9; attempt++) {
    expect(await claimForRelay(db, LIMITS)).toMatchObject([{ start_attempts: attempt }]);
    expect(await claimForRelay(db, LIMITS)).toEqual([]);
    const { rows } = await db.query<{ wait: number }>(
      "select extract(epoch from due_at - clock_timestamp())::float8 as wait from holdfast.operations",
    );
    waits.push(Math.round(rows[0]!.wait));
    await passBackOff(db);
  }
  expect(waits).toEqual([2, 4, 8, 16, 32, 60, 60, 60, 60]);
});

test("a bank with one operation is served in the first claim beside a bank with a thousand older ones", async () => {
  const { db } = await fresh();
  await insertOperationRows(db, times(1_100, { scope: "a" }));
  await insertOperationRows(db, [{ scope: "b" }, { tenant: "zeta", scope: "c" }]);
  expect(scopesOf(await claimForRelay(db, { ...LIMITS, batch: 3 })).toSorted()).toEqual([
    "default/a",
    "default/b",
    "zeta/c",
  ]);
});

test("scopes with nothing to start now do not stand in the way of those behind them", async () => {
  const { db } = await fresh();
  const tomorrow = new Date(Date.now() + 86_400_000);
  await insertOperationRows(
    db,
    Array.from({ length: 240 }, (_, index) => {
      const scope = `waiting-${index}`;
      if (index % 3 === 0) return { scope, due_at: tomorrow };
      return index % 3 === 1 ? { scope, paused_at: new Date() } : { scope, tenant: "braked" };
    }),
  );
  await db.query(
    `insert into holdfast.brakes (applies_to, name, reason, set_by)
     values ('tenant', 'braked', 'incident', 'test')`,
  );
  await insertOperationRows(db, [{ tenant: "zeta", scope: "z" }]);
  expect(scopesOf(await claimForRelay(db, LIMITS))).toEqual(["zeta/z"]);
});

test("at most so many operations of a scope, and in all, are started before others have ended", async () => {
  const { db } = await fresh();
  await insertOperationRows(db, [...times(20, { scope: "a" }), ...times(20, { scope: "b" })]);
  const first = await claimForRelay(db, LIMITS);
  expect(scopesOf(first).toSorted()).toEqual([
    ...times(4, {}).map(() => "default/a"),
    ...times(4, {}).map(() => "default/b"),
  ]);
  // Told but not begun yet counts as well.
  expect(await claimForRelay(db, LIMITS)).toEqual([]);
  await begin(db, first);
  expect(await claimForRelay(db, LIMITS)).toEqual([]);

  const ended = first.find(({ scope }) => scope === "a")!;
  await db.query(
    "update holdfast.operations set state = 'completed', finished_at = clock_timestamp() where id = $1",
    [ended.id],
  );
  expect(scopesOf(await claimForRelay(db, LIMITS))).toEqual(["default/a"]);

  await insertOperationRows(db, [{ scope: "c" }, { scope: "d" }]);
  expect(await claimForRelay(db, { ...LIMITS, maxRunning: 8 })).toEqual([]);
  expect(starts(await claimForRelay(db, { ...LIMITS, maxRunning: 9 }))).toHaveLength(1);
});

test("operations that are paused do not use up what their bank may run", async () => {
  const { db } = await fresh();
  const paused = { paused_at: new Date(), paused_by: "test", pause_reason: "look" };
  await insertOperationRows(db, times(4, { state: "running", ...paused }));
  const [next] = await insertOperationRows(db, [{}]);
  expect(await claimForRelay(db, LIMITS)).toMatchObject([{ verb: "start", id: next }]);
});

test("jobs that wait for whoever claims from them do not use up what may run", async () => {
  const { db } = await fresh();
  await insertOperationRows(db, times(10, { kind: "job", scope: "bank", state: "running" }));
  await insertOperationRows(db, [{ scope: "bank" }]);
  expect(starts(await claimForRelay(db, { ...LIMITS, maxRunning: 1 }))).toHaveLength(1);
});

test("in a bank what is urgent goes first, then what is older, however much waits", async () => {
  const { db } = await fresh();
  await insertOperationRows(db, times(200, {}));
  const [late] = await insertOperationRows(db, [{ priority: 4 }]);
  const [urgent] = await insertOperationRows(db, [{ priority: 1 }]);
  const { rows } = await db.query<{ id: string }>(
    "select id from holdfast.operations where priority = 3 order by id limit 3",
  );
  const claimed = starts(await claimForRelay(db, LIMITS)).map(({ id }) => id);
  expect(claimed.toSorted()).toEqual([urgent!, ...rows.map((row) => row.id)].toSorted());
  expect(claimed).not.toContain(late);
});

test("what is deferred, paused or braked is not started, and starts when that is over", async () => {
  const { db } = await fresh();
  const cases: [string, OperationColumns, string, string][] = [
    [
      "deferred",
      { due_at: new Date(Date.now() + 60_000) },
      "",
      "update holdfast.operations set due_at = clock_timestamp()",
    ],
    ["paused", { paused_at: new Date() }, "", "update holdfast.operations set paused_at = null"],
    ["all braked", {}, "'all', ''", "delete from holdfast.brakes"],
    ["kind braked", { kind: "retain" }, "'kind', 'retain'", "delete from holdfast.brakes"],
    ["tenant braked", { tenant: "acme" }, "'tenant', 'acme'", "delete from holdfast.brakes"],
    [
      "scope braked",
      { tenant: "acme", scope: "b" },
      "'scope', 'acme/b'",
      "delete from holdfast.brakes",
    ],
  ];
  for (const [name, row, brake, lift] of cases) {
    if (brake) {
      await db.query(
        `insert into holdfast.brakes (applies_to, name, reason, set_by) values (${brake}, 'r', 'b')`,
      );
    }
    const [id] = await insertOperationRows(db, [row]);
    expect(await claimForRelay(db, LIMITS), name).toEqual([]);
    await db.query(lift);
    expect(await claimForRelay(db, LIMITS), name).toMatchObject([{ verb: "start", id }]);
    await db.query("delete from holdfast.operations");
  }
});

test("an accepted batch with a start time is not claimed before it", async () => {
  const { db, holdfast } = await fresh();
  const startAfter = new Date(Date.now() + 3_600_000).toISOString();
  const { id } = await holdfast.retain.submit({
    bank: "notes",
    items: [{ content: "later" }],
    options: { startAfter },
  });
  expect(await claimForRelay(db, LIMITS)).toEqual([]);
  expect(await holdfast.operation.get(id)).toMatchObject({ shown: "deferred", startAfter });
  const { rows } = await db.query<{ due_at: Date }>("select due_at from holdfast.operations");
  expect(rows[0]!.due_at.toISOString()).toBe(startAfter);
});

test("a wake is carried until it is told, a cancel until the operation has ended", async () => {
  const { db } = await fresh();
  const past = new Date(Date.now() - 1_000);
  const [woken, cancelled] = await insertOperationRows(db, [
    { state: "running", wake_at: past },
    { state: "running", cancel_requested_at: past, cancel_due_at: past },
    { state: "running", wake_at: new Date(Date.now() + 60_000) },
  ]);
  const both = [
    { verb: "cancel", id: cancelled },
    { verb: "wake", id: woken },
  ];
  const claim = async () =>
    (await claimForRelay(db, LIMITS)).toSorted((a, b) => (a.verb < b.verb ? -1 : 1));
  const again = () =>
    db.query(
      `update holdfast.operations set cancel_due_at = cancel_requested_at,
         wake_at = wake_at - interval '6 seconds'`,
    );
  expect(await claim()).toMatchObject(both);
  expect(await claim()).toEqual([]);
  await again();
  expect(await claim()).toMatchObject(both);
  await again();
  const told = await claimForRelay(db, LIMITS);
  await clearWakes(
    db,
    told.filter(({ verb }) => verb === "wake"),
  );
  await again();
  expect(await claim()).toMatchObject([{ verb: "cancel", id: cancelled }]);
  await db.query(
    `update holdfast.operations set state = 'cancelled', finished_at = clock_timestamp(),
       cancel_due_at = null where id = $1`,
    [cancelled],
  );
  await again();
  expect(await claim()).toEqual([]);
});

test("what asks for a wake while the one before is being told is told as well", async () => {
  const { db } = await fresh();
  await insertOperationRows(db, [{ state: "running", wake_at: new Date(Date.now() - 1_000) }]);
  const [first] = await claimForRelay(db, LIMITS);
  await setBrake(db, { appliesTo: "all", name: "", reason: "incident", by: "test" });
  await liftBrake(db, "all", "");
  await clearWakes(db, [first!]);
  const [second] = await claimForRelay(db, LIMITS);
  expect(second).toMatchObject({ verb: "wake", id: first!.id });
  await clearWakes(db, [second!]);
  const { rows } = await db.query<{ wake_at: Date | null }>(
    "select wake_at from holdfast.operations",
  );
  expect(rows).toEqual([{ wake_at: null }]);
});

test("a drain is woken when rows of its queue are due, and left alone while it is at work", async () => {
  const { db } = await fresh();
  expect(await claimDrainsToWake(db)).toEqual([]);
  await db.query(
    `insert into holdfast.marks (queue, scope, key, due_at)
     values ('consolidate', '1', 'part/1', clock_timestamp() + interval '1 hour')`,
  );
  expect(await claimDrainsToWake(db)).toEqual([]);
  await db.query("update holdfast.marks set due_at = clock_timestamp()");
  const consolidate = { queue: "consolidate", lane: 0 };
  const claims = await Promise.all([claimDrainsToWake(db), claimDrainsToWake(db)]);
  expect(claims.flat()).toEqual([consolidate]);
  await markDrainSeen(db, consolidate, true);
  expect(await claimDrainsToWake(db)).toEqual([consolidate]);
  await markDrainSeen(db, consolidate, false);
  expect(await claimDrainsToWake(db)).toEqual([]);
});
