import { expect, test } from "vitest";
import type { ClaimedBatch } from "../../contracts/job.ts";
import type { OperationRef } from "../../contracts/messages.ts";
import { watched } from "../support/failing.ts";
import { jobbing, jobWorker, numbered, type Jobbing } from "../support/jobbing.ts";

interface Pulled extends Jobbing {
  ref: OperationRef;
  claim(limit?: number): Promise<ClaimedBatch[]>;
  post(batches: readonly ClaimedBatch[]): Promise<void>;
}

/** A running job of `items` items, ten in a batch. */
async function pulled(items = 20): Promise<Pulled> {
  const made = await jobbing();
  const { job } = made.holdfast;
  const ref = await made.submit({
    pipeline: "p",
    items: numbered(items),
    options: { batchSize: 10 },
  });
  await made.working.begin(ref);
  return {
    ...made,
    ref,
    claim: async (limit = 2) =>
      (await job.claim({ pipelines: ["p"], worker: "w", limit, heartbeat: true })).batches,
    async post(batches) {
      for (const { handle, items: of } of batches) {
        const results = of.map(({ item }) => ({ handle, item, result: item }));
        await job.post(ref.id, { results });
      }
    },
  };
}

test("a job that begins is handed out at the instant it runs, and beginning again changes nothing", async () => {
  const { submit, working, db, holdfast } = await jobbing();
  const ref = await submit({ pipeline: "p", items: numbered(30) });
  expect((await holdfast.job.claim({ pipelines: ["p"], worker: "w" })).batches).toEqual([]);
  const states: string[] = [];
  const seen = watched(db, async () => {
    const { rows } = await db.query<{ state: string }>(
      `select op.state || ' ' || (select count(*) from holdfast.job_batches) as state
         from holdfast.operations op`,
    );
    states.push(rows[0]!.state);
  });
  await jobWorker(seen).begin(ref);
  expect(new Set(states)).toEqual(new Set(["accepted 0"]));
  await working.begin(ref);
  expect(await holdfast.job.get(ref.id)).toMatchObject({ state: "running", batches: { ready: 2 } });
});

test("a job of another generation, or an ended one, is not begun", async () => {
  const { ref, working, holdfast } = await pulled();
  expect(await working.begin({ ...ref, generation: 2 })).toMatchObject({ state: "gone" });
  await holdfast.job.cancel(ref.id);
  await working.finish(ref, "cancelled");
  expect(await working.begin(ref)).toEqual({ state: "gone", was: "cancelled" });
  expect(await working.look(ref)).toMatchObject({ stop: "gone" });
});

test("a look says that a job is done when, and only when, no item is open", async () => {
  const { ref, working, claim, post } = await pulled();
  expect(await working.look(ref)).toMatchObject({ complete: false, lanes: 0 });
  const [first, second] = await claim();
  await post([first!]);
  expect(await working.look(ref)).toMatchObject({ complete: false });
  await post([second!]);
  expect(await working.look(ref)).toMatchObject({ complete: true });
});

test("a job without items is done at the first look", async () => {
  const { ref, working } = await pulled(0);
  expect(await working.look(ref)).toMatchObject({ complete: true });
});

test("a look says what a job waits for, and comes back in a minute, later in ten", async () => {
  const { ref, working, db, claim } = await pulled();
  const soon = await working.look(ref);
  expect(soon.waitsFor).toBe('no worker has asked for "p" yet');
  expect(soon.nextDueAt! - Date.now()).toBeGreaterThan(50_000);
  expect(soon.nextDueAt! - Date.now()).toBeLessThan(61_000);
  await db.query("update holdfast.operations set started_at = now() - interval '11 minutes'");
  expect((await working.look(ref)).nextDueAt! - Date.now()).toBeGreaterThan(590_000);
  await claim();
  expect((await working.look(ref)).waitsFor).toBe("20 items, 2 batches of them held");
});

test("nobody there for an hour is warned of, once an hour, and ends nothing", async () => {
  const { ref, working, db, holdfast } = await pulled();
  const warnings = async () =>
    (await holdfast.operation.logs(ref.id)).items.filter(({ level }) => level === "warn").length;
  await db.query("update holdfast.operations set started_at = now() - interval '59 minutes'");
  await working.look(ref);
  expect(await warnings()).toBe(0);
  await db.query("update holdfast.operations set started_at = now() - interval '61 minutes'");
  expect(await working.look(ref)).toMatchObject({ complete: false, lanes: 0 });
  expect(await warnings()).toBe(1);
  await db.query("update holdfast.operations set started_at = now() - interval '25.5 hours'");
  expect(await working.look(ref)).toMatchObject({ complete: false, lanes: 0 });
  expect(await warnings()).toBe(1);
});

test("batches that are missing are made again, once, and the job goes on", async () => {
  const { ref, working, db, claim, post, holdfast } = await pulled();
  const [first] = await claim(1);
  await post([first!]);
  await db.query("delete from holdfast.job_batches where state = 'ready'");
  const look = await working.look(ref);
  expect(look.nextDueAt).toBeLessThanOrEqual(Date.now());
  expect((await holdfast.job.get(ref.id)).batches.ready).toBe(1);
  const { items } = await holdfast.operation.logs(ref.id);
  expect(items.at(-1)!.message).toMatch(/made 1 batch for/);
  await post(await claim());
  expect(await working.look(ref)).toMatchObject({ complete: true });
});

test("a job that is stuck ten minutes after it was mended ends, its open items lost", async () => {
  const { ref, working, db, claim, post, holdfast } = await pulled();
  const [first] = await claim(1);
  await post([first!]);
  const lose = "delete from holdfast.job_batches where state = 'ready'";
  await db.query(lose);
  await working.look(ref);
  await db.query(lose);
  expect(await working.look(ref)).toMatchObject({ complete: false });
  await db.query(
    `update holdfast.jobs set repaired_at = repaired_at - interval '11 minutes';
     update holdfast.operations set started_at = started_at - interval '30 minutes';
     update holdfast.job_turns set served_at = served_at - interval '20 minutes';
     update holdfast.progress_deltas set at = at - interval '20 minutes';`,
  );
  expect(await working.look(ref)).toMatchObject({ complete: true });
  expect(await working.finish(ref)).toMatchObject({ counts: { succeeded: 10, lost: 10 } });
  expect((await holdfast.operation.items(ref.id, { outcome: "lost" })).items[0]!.reason).toMatch(
    /stuck/,
  );
});

test("what a dead post left unclosed is closed by a look", async () => {
  const { ref, working, db, claim, post } = await pulled();
  await post(await claim());
  await db.query(
    `update holdfast.job_batches
        set state = 'leased', holder = 'dead', leased_until = clock_timestamp() + interval '1 hour'`,
  );
  expect(await working.look(ref)).toMatchObject({ complete: true });
});

test("a paused job is left alone, unless it is done", async () => {
  const { ref, working, claim, post, holdfast } = await pulled();
  const batches = await claim();
  await holdfast.operation.pause(ref.id);
  expect(await working.look(ref)).toMatchObject({ stop: "paused" });
  await post(batches);
  expect(await working.look(ref)).toMatchObject({ complete: true });
});
