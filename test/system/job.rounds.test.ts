import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, expect } from "vitest";
import { disconnectAt } from "../support/gate.ts";
import { pullingFrom, told, type Pulling } from "../support/pulling.ts";
import { longRounds, rounds } from "../support/rounds.ts";
import { startSystem, type System } from "../support/system.ts";

let system: System;
let pulling: Pulling;
// What is committed must survive SIGKILL of Postgres, so nothing is traded for speed here.
beforeAll(async () => {
  system = await startSystem({ durability: "durable" });
  pulling = pullingFrom(system);
});
afterEach(() => system.tidy());
afterAll(() => system.stop());

rounds("Postgres killed in the middle of a job costs no item and no delivery", async (random) => {
  const { postgres } = system.stack;
  const { job } = system.holdfast;
  await pulling.worker();
  const processed = await job.submit({
    pipeline: "obey",
    items: told(200, () => ({ sleepMs: 20 })),
    options: { batchSize: 5 },
  });
  const pulled = await job.submit({ pipeline: "pull", items: told(40), options: { batchSize: 8 } });
  await pulling.opened(pulled.id);
  const batches = await pulling.claimed("pull");
  await sleep(random.between(0, 1_500));
  await postgres!.stop("kill");
  await sleep(random.between(0, 3_000));
  await postgres!.start();
  for (const batch of batches) {
    await system.eventually("the post is taken", async () => {
      await pulling.post(batch);
      return true;
    });
  }
  for (const { id } of [processed, pulled]) {
    const { state, counts, leases } = await pulling.ended(id);
    expect(state).toBe("completed");
    expect(Object.keys(counts)).toEqual(["succeeded"]);
    expect(leases.expiries).toBe(0);
  }
  await system.sound();
});

rounds("a worker stopped past its lease: others finish, and it changes nothing", async (random) => {
  const sleeper = await pulling.worker();
  const { id } = await system.holdfast.job.submit({
    pipeline: "obey",
    items: told(60, () => ({ sleepMs: 50 })),
    options: { batchSize: 10, leaseSeconds: 3, heartbeatSeconds: 3, deliveries: 3 },
  });
  await system.eventually("it is at work", async () => {
    return (await system.holdfast.job.get(id)).batches.leased > 0;
  });
  await sleep(random.between(0, 300));
  await sleeper.send("SIGSTOP");
  await pulling.worker();
  const before = await pulling.ended(id, 120_000);
  expect(before).toMatchObject({ state: "completed", counts: { succeeded: 60 } });
  await sleeper.send("SIGCONT");
  await sleep(4_000);
  const after = await system.holdfast.job.get(id);
  expect(after.counts).toEqual(before.counts);
  expect(after.finishedAt).toBe(before.finishedAt);
  await system.sound();
});

rounds(
  "whoever dies between the last results and the end of their batch: the job ends",
  async () => {
    await pulling.worker();
    const { id } = await system.holdfast.job.submit({ pipeline: "pull", items: told(3) });
    await pulling.opened(id);
    const [batch] = await pulling.claimed("pull");
    const remove = await disconnectAt(system.stack.databaseUrl, {
      table: "job_batches",
      on: "update",
      when: "new.state = 'done'",
    });
    await expect(pulling.post(batch!)).rejects.toThrow();
    await remove();
    expect((await system.holdfast.job.get(id)).counts).toEqual({ succeeded: 3 });
    expect(await pulling.ended(id, 90_000)).toMatchObject({ state: "completed" });
    await system.sound();
  },
);

rounds("everything killed at once while jobs are collected, worked and pulled", async (random) => {
  const { postgres, temporal } = system.stack;
  const { job } = system.holdfast;
  const worker = await pulling.worker();
  const collect = { items: 500, page: 50, sleepMs: 50, told: { sleepMs: 2 } };
  const jobs = await Promise.all([
    job.submit({ pipeline: "obey", collector: "numbers", collect }),
    job.submit({ pipeline: "obey", items: told(100, () => ({ sleepMs: 20 })) }),
    job.submit({ pipeline: "pull", items: told(30), options: { batchSize: 5 } }),
  ]);
  await pulling.opened(jobs[2].id);
  const batches = await pulling.claimed("pull");
  await sleep(random.between(0, 1_500));
  const kills = [
    () => worker.send("SIGKILL"),
    () => postgres!.stop("kill"),
    () => temporal!.kill("SIGKILL"),
  ];
  await Promise.all(random.shuffle(kills).map((kill) => kill()));
  const starts = random.shuffle([() => postgres!.start(), () => temporal!.start()]);
  for (const start of starts) await start();
  await pulling.worker();
  for (const batch of batches) expect(await pulling.post(batch)).toBe(5);
  for (const [n, { id }] of jobs.entries()) {
    const view = await pulling.ended(id, 180_000);
    expect(view).toMatchObject({ state: "completed", counts: { succeeded: [500, 100, 30][n] } });
  }
  await system.sound();
});

longRounds("two poisoned items of a large job are lost alone", async (random) => {
  const poison = new Set([random.between(1, 150), random.between(151, 300)]);
  const { id } = await system.holdfast.job.submit({
    pipeline: "obey",
    items: told(300, (no) => (poison.has(no) ? { kill: 99 } : { sleepMs: 2 })),
    options: { batchSize: 24 },
  });
  let over = false;
  const keeping = (async () => {
    while (!over) await (await pulling.worker()).ended;
  })();
  const view = await pulling.ended(id, 280_000);
  over = true;
  await system.tidy();
  await keeping;
  expect(view.counts).toEqual({ succeeded: 298, lost: 2 });
  await system.sound();
});
