import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, expect } from "vitest";
import { pullingFrom, results, told, type Pulling } from "../support/pulling.ts";
import { rounds } from "../support/rounds.ts";
import { startSystem, type System } from "../support/system.ts";

let system: System;
let pulling: Pulling;
beforeAll(async () => {
  system = await startSystem();
  pulling = pullingFrom(system);
});
afterEach(() => system.tidy());
afterAll(() => system.stop());

rounds(
  "a worker killed in the middle of collecting: another goes on behind the last page",
  async (random) => {
    const collect = {
      items: 1_000,
      page: 100,
      killAt: random.between(1, 9) * 100,
      sleepMs: 20,
    };
    const first = await pulling.worker();
    const { id } = await system.holdfast.job.submit({
      pipeline: "obey",
      collector: "numbers",
      collect,
    });
    await first.ended;
    await pulling.worker();
    const view = await pulling.ended(id);
    expect(view).toMatchObject({
      state: "completed",
      total: 1_000,
      counts: { succeeded: 1_000 },
    });
    const { rows } = await system.db.query(
      "select key from holdfast.items where operation_id = $1 order by no",
      [id],
    );
    expect(rows).toEqual(Array.from({ length: 1_000 }, (_, n) => ({ key: `n-${n + 1}` })));
    await system.sound();
  },
);

rounds(
  "a worker killed anywhere in writing a page leaves the page, whole or not at all",
  async (random) => {
    const gate = await system.gate(
      random.pick([
        { table: "items", nth: 150 },
        { table: "payloads", nth: 150 },
        { table: "sub_batches", nth: 5 },
        { table: "jobs", on: "update", when: "new.collected > 100" },
        { table: "jobs", on: "update", when: "new.collected > 100", at: "commit" },
        { table: "job_batches", nth: 3 },
        { table: "operations", on: "update", when: "new.total > 0", at: "commit" },
      ] as const),
    );
    const first = await pulling.worker();
    const { id } = await system.holdfast.job.submit({
      pipeline: "obey",
      collector: "numbers",
      collect: { items: 500 },
    });
    await gate.reached();
    await first.send("SIGKILL");
    await gate.open();
    await pulling.worker();
    expect(await pulling.ended(id)).toMatchObject({ total: 500, counts: { succeeded: 500 } });
    await system.sound();
  },
);

rounds(
  "an item that kills every worker is lost alone, and every other item has its result once",
  async (random) => {
    const poison = random.between(1, 40);
    const { id } = await system.holdfast.job.submit({
      pipeline: "obey",
      items: told(40, (no) => (no === poison ? { kill: 99 } : { sleepMs: 5 })),
      options: { batchSize: 8 },
    });
    for (let deaths = 0; deaths < 2; deaths++) await (await pulling.worker()).ended;
    await pulling.worker();
    const view = await pulling.ended(id, 120_000);
    expect(view).toMatchObject({ state: "completed", outcome: "completed with 1 error" });
    const { items } = await system.holdfast.operation.items(id, { limit: 200 });
    expect(items.filter(({ outcome }) => outcome !== "succeeded")).toMatchObject([
      { no: poison, outcome: "lost", reason: expect.stringContaining("handed out 2 times") },
    ]);
    await system.sound();
  },
);

rounds(
  "Temporal killed while results are posted: they are taken, and the job ends when it is back",
  async (random) => {
    const { temporal } = system.stack;
    await pulling.worker();
    const { id } = await system.holdfast.job.submit({
      pipeline: "pull",
      items: told(60),
      options: { batchSize: 10 },
    });
    await pulling.opened(id);
    const batches = await pulling.claimed("pull");
    const before = random.between(0, batches.length - 1);
    for (const batch of batches.slice(0, before)) await pulling.post(batch);
    await temporal!.kill("SIGKILL");
    for (const batch of batches.slice(before)) expect(await pulling.post(batch)).toBe(10);
    expect((await system.holdfast.job.get(id)).counts).toEqual({ succeeded: 60 });
    await temporal!.start();
    const back = performance.now();
    expect(await pulling.ended(id)).toMatchObject({
      state: "completed",
      counts: { succeeded: 60 },
    });
    expect(performance.now() - back).toBeLessThan(20_000);
    await system.sound();
  },
);

rounds("a worker killed between the last result and the finish: another finishes", async () => {
  const gate = await system.gate({ table: "events" });
  const first = await pulling.worker();
  const { id } = await system.holdfast.job.submit({ pipeline: "pull", items: told(30) });
  await pulling.opened(id);
  for (const batch of await pulling.claimed("pull")) await pulling.post(batch);
  await gate.reached();
  await first.send("SIGKILL");
  await gate.open();
  await pulling.worker();
  expect(await pulling.ended(id)).toMatchObject({ state: "completed", counts: { succeeded: 30 } });
  await system.sound();
});

rounds("a cancel that races with the last result is one of the two, whole", async (random) => {
  await pulling.worker();
  const { job } = system.holdfast;
  const jobs = await Promise.all(
    Array.from({ length: 10 }, () => job.submit({ pipeline: "pull", items: told(5) })),
  );
  for (const { id } of jobs) await pulling.opened(id);
  const batches = await pulling.claimed("pull");
  await Promise.all(
    batches.flatMap((batch) => [
      sleep(random.between(0, 100)).then(() => pulling.post(batch)),
      sleep(random.between(0, 100)).then(() => job.cancel(batch.job).catch(() => undefined)),
    ]),
  );
  for (const { id } of jobs) {
    const { state, counts } = await pulling.ended(id);
    const { succeeded = 0, cancelled = 0 } = counts;
    expect([succeeded, cancelled]).toEqual(state === "completed" ? [5, 0] : [0, 5]);
  }
  await system.sound();
});

rounds("run again after a cancel, in each way, while old leases are held", async () => {
  await pulling.worker();
  const { job } = system.holdfast;
  const expected = { unfinished: 4, failed: 1, remaining: 3, all: 6 } as const;
  for (const [items, again] of Object.entries(expected) as [keyof typeof expected, number][]) {
    const { id } = await job.submit({
      pipeline: `pull-${items}`,
      items: told(6),
      options: { batchSize: 3 },
    });
    await pulling.opened(id);
    const [first, second] = await pulling.claimed(`pull-${items}`);
    const [one, two, three] = results(first!);
    const { result: _, counts: __, ...failed } = three!;
    await job.post(id, { results: [one!, two!, { ...failed, error: "it failed" }] });
    await job.cancel(id);
    expect(await pulling.ended(id)).toMatchObject({ state: "cancelled" });

    await job.retry(id, { items });
    await pulling.opened(id);
    const anew = await pulling.claimed(`pull-${items}`, "second");
    expect(anew.flatMap((batch) => batch.items)).toHaveLength(again);
    const late = await job.post(id, { results: results(second!) });
    expect(late).toMatchObject({ accepted: 0, late: 3 });
    for (const batch of anew) expect(await pulling.post(batch)).toBe(batch.items.length);
    const view = await pulling.ended(id);
    const succeeded = items === "failed" ? 3 : items === "remaining" ? 5 : 6;
    expect(view.counts.succeeded).toBe(succeeded);
  }
  await system.sound();
});

rounds("a job is finished within two seconds of its last result", async () => {
  await pulling.worker();
  const took: number[] = [];
  for (let n = 0; n < 5; n++) {
    const { id } = await system.holdfast.job.submit({ pipeline: "pull", items: told(20) });
    await pulling.opened(id);
    const batches = await pulling.claimed("pull");
    await sleep(1_000);
    for (const batch of batches) await pulling.post(batch);
    const { rows } = await lastResult(id);
    const { finishedAt } = await pulling.ended(id);
    took.push(Date.parse(finishedAt!) - rows[0]!.at.getTime());
  }
  console.log(`finished after the last result, ms: ${took.map(Math.round).join(", ")}`);
  expect(Math.max(...took)).toBeLessThan(2_000);
  await system.sound();
});

function lastResult(id: string) {
  return system.db.query<{ at: Date }>(
    "select max(at) as at from holdfast.job_results where operation_id = $1",
    [id],
  );
}
