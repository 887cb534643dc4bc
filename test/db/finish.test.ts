import { expect, test } from "vitest";
import { addDeltas } from "../../db/progress.ts";
import { finishOperation, type Ending } from "../../db/finish.ts";
import { markRunning } from "../../db/operations.ts";
import { settleItems } from "../../db/outcomes.ts";
import type { Outcome } from "../../contracts/operation.ts";
import { documents, fresh } from "../support/fresh.ts";
import { worker } from "../support/retaining.ts";
import { snapshotOf } from "../support/snapshot.ts";

async function running(n: number) {
  const { db, holdfast, url } = await fresh();
  const { id } = await holdfast.retain.submit({ bank: "notes", key: "k", items: documents(n) });
  await markRunning(db, id, 1);
  const settle = (outcomes: readonly Outcome[], generation = 1) =>
    db.transaction(async (tx) => {
      const settlements = outcomes.map((outcome, index) => ({
        itemNo: index + 1,
        outcome,
        attempt: 0,
        reason: `${outcome} it is`,
      }));
      const settled = await settleItems(tx, { id, generation }, settlements, "me");
      const now = outcomes.filter((_, index) => settled.has(index + 1));
      await addDeltas(
        tx,
        id,
        `settle/${generation}`,
        [...new Set(now)].map((outcome) => ({
          stage: "retain",
          outcome,
          n: now.filter((one) => one === outcome).length,
        })),
      );
    });
  const finish = (ending: Partial<Ending> = {}) =>
    db.transaction((tx) =>
      finishOperation(tx, {
        id,
        generation: 1,
        outcome: "failed",
        reason: "left open",
        by: "me",
        ...ending,
      }),
    );
  return { db, holdfast, id, settle, finish, url };
}

test("finishing twice answers the same, and the second time changes nothing", async () => {
  const { db, holdfast, id, settle, finish } = await running(3);
  await settle(["succeeded", "unchanged"]);
  const first = await finish();
  expect(first).toEqual({
    state: "failed",
    reason: "of 3 items, 1 failed: left open",
    counts: { succeeded: 1, unchanged: 1, failed: 1 },
  });
  const before = await snapshotOf(db);
  expect(await finish({ outcome: "cancelled", reason: "another" })).toEqual(first);
  expect(await snapshotOf(db)).toEqual(before);

  const view = await holdfast.operation.get(id);
  expect(view).toMatchObject({ state: "failed", reason: first.reason, result: first.counts });
  expect(view.stages).toEqual([{ stage: "retain", counts: first.counts, done: 3, total: 3 }]);
  expect(await holdfast.operation.events(id)).toMatchObject([
    {
      type: "operation.finished",
      operation_id: id,
      body: { operationId: id, key: "k", state: "failed", total: 3, counts: first.counts },
    },
  ]);
});

test("many that finish at once make one transition, one event and one answer", async () => {
  const { db, holdfast, id, settle, finish } = await running(4);
  await settle(["succeeded", "succeeded", "failed", "succeeded"]);
  const answers = await Promise.all(Array.from({ length: 8 }, () => finish()));
  for (const answer of answers) expect(answer).toEqual(answers[0]);
  expect(answers[0]).toMatchObject({ state: "failed" });
  expect(await holdfast.operation.events(id)).toHaveLength(1);
  const { rows } = await db.query("select 1 from holdfast.logs where message like 'failed%'");
  expect(rows).toHaveLength(1);
});

test("an operation is over exactly when all its items are, and says the most common cause", async () => {
  const { holdfast, id, settle, finish } = await running(6);
  await settle(["failed", "succeeded", "failed"]);
  expect((await holdfast.operation.get(id)).finishedAt).toBeNull();
  const { reason, counts } = await finish({ reason: "its worker left" });
  expect(counts).toEqual({ failed: 5, succeeded: 1 });
  expect(reason).toBe("of 6 items, 5 failed: mostly its worker left (3 times)");
});

test("a batch whose items all ended well, or were overtaken or blocked, is completed", async () => {
  const { settle, finish } = await running(4);
  await settle(["succeeded", "unchanged", "superseded", "blocked"]);
  expect(await finish()).toMatchObject({ state: "completed" });
});

test("each webhook of the tenant that asked for it has one delivery of the event, no other has", async () => {
  const { db, finish } = await running(1);
  await db.query(
    `insert into holdfast.webhooks (id, tenant, url, events, created_by, disabled_at) values
       ('00000000-0000-7000-8000-000000000001', 'default', 'https://a', '{operation.finished}', 'me', null),
       ('00000000-0000-7000-8000-000000000002', 'default', 'https://b', '{doctor.finding}', 'me', null),
       ('00000000-0000-7000-8000-000000000003', 'acme', 'https://c', '{operation.finished}', 'me', null),
       ('00000000-0000-7000-8000-000000000004', 'default', 'https://d', '{operation.finished}', 'me', now()),
       ('00000000-0000-7000-8000-000000000005', 'default', 'https://e',
        '{doctor.finding,operation.finished}', 'me', null)`,
  );
  await finish();
  await finish();
  const { rows } = await db.query<{ webhook_id: string; state: string }>(
    "select webhook_id, state from holdfast.deliveries order by webhook_id",
  );
  expect(rows.map((row) => [row.webhook_id.at(-1), row.state])).toEqual([
    ["1", "pending"],
    ["5", "pending"],
  ]);
});

test("a cancel of what is accepted ends it at once with its ledger, and no workflow begins it", async () => {
  const { db, holdfast } = await fresh();
  const { id } = await holdfast.retain.submit({ bank: "notes", items: documents(3) });
  const view = await holdfast.operation.cancel(id);
  expect(view).toMatchObject({
    state: "cancelled",
    result: { cancelled: 3 },
    stages: [{ counts: { cancelled: 3 }, done: 3 }],
  });
  expect(await holdfast.operation.events(id)).toMatchObject([{ body: { state: "cancelled" } }]);
  expect(await holdfast.operation.audit(id)).toMatchObject([
    { actor: "test", action: "operation.cancel", before: { state: "accepted" } },
  ]);
  const before = await snapshotOf(db);
  const { begin, finish } = worker(db);
  const ref = {
    id,
    kind: "retain",
    tenant: "default",
    scope: "notes",
    generation: 1,
    total: 3,
    priority: 3,
  };
  expect(await begin(ref)).toEqual({ state: "gone", was: "cancelled" });
  expect(await finish(ref)).toMatchObject({
    state: "cancelled",
    counts: { cancelled: 3 },
  });
  expect(await snapshotOf(db)).toEqual(before);
});

test("a cancel of what runs is a request; items that ended meanwhile keep their outcome", async () => {
  const { holdfast, id, settle, finish } = await running(4);
  expect(await holdfast.operation.cancel(id)).toMatchObject({
    state: "running",
    shown: "cancelling",
  });
  await settle(["succeeded", "succeeded"]);
  expect(await finish({ outcome: "cancelled", reason: "on request" })).toMatchObject({
    state: "cancelled",
    counts: { succeeded: 2, cancelled: 2 },
  });
  // A cancel that comes when everything is done changes nothing about that.
  const other = await running(2);
  await other.holdfast.operation.cancel(other.id);
  await other.settle(["succeeded", "unchanged"]);
  expect(await other.finish({ outcome: "cancelled" })).toMatchObject({ state: "completed" });
});

test("an end belongs to its generation: a late one of an earlier generation changes nothing", async () => {
  const { db, holdfast, id, settle, finish } = await running(3);
  await settle(["succeeded", "failed", "failed"]);
  await finish();
  expect(await holdfast.operation.retry(id)).toMatchObject({
    state: "accepted",
    generation: 2,
    stages: [{ counts: { succeeded: 1 }, done: 1, total: 3 }],
  });
  const before = await snapshotOf(db);
  expect(await finish({ generation: 1 })).toEqual({ state: "gone", counts: {} });
  expect(await finish({ generation: 3 })).toEqual({ state: "gone", counts: {} });
  expect(await snapshotOf(db)).toEqual(before);

  const { begin } = worker(db);
  const ref = { id, kind: "retain", tenant: "default", scope: "notes", total: 3, priority: 3 };
  expect(await begin({ ...ref, generation: 1 })).toMatchObject({ state: "gone" });
  expect(await begin({ ...ref, generation: 2 })).toMatchObject({ state: "running" });
  await settle(["succeeded", "succeeded", "failed"], 2);
  expect(await finish({ generation: 2 })).toMatchObject({
    state: "failed",
    counts: { succeeded: 2, failed: 1 },
  });
  expect((await holdfast.operation.get(id)).stages).toMatchObject([
    { counts: { succeeded: 2, failed: 1 }, done: 3 },
  ]);
  expect(await holdfast.operation.events(id)).toHaveLength(2);
});

test("a read of an operation whose items are missing writes nothing and calls it no success", async () => {
  const { db, holdfast, id, finish } = await running(3);
  await db.query("delete from holdfast.items where operation_id = $1", [id]);
  const before = await snapshotOf(db);
  expect(await holdfast.operation.get(id)).toMatchObject({ state: "running" });
  await holdfast.operation.items(id);
  await holdfast.operation.batches(id);
  await holdfast.operation.list();
  expect(await snapshotOf(db)).toEqual(before);
  expect(await finish({ reason: "never fully submitted; resubmit" })).toMatchObject({
    state: "failed",
    reason: "never fully submitted; resubmit",
  });
});
