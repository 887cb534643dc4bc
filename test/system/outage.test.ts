import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, expect } from "vitest";
import { operationWorkflowId } from "../../contracts/ids.ts";
import { runDoctor } from "../../workers/doctor.ts";
import { isFullRun, longRounds, rounds } from "../support/rounds.ts";
import { letters } from "../support/letters.ts";
import { startSystem, type System } from "../support/system.ts";

let system: System;
// What is committed must survive SIGKILL of Postgres, so nothing is traded for speed here.
beforeAll(async () => (system = await startSystem({ durability: "durable" })));
afterEach(() => system.tidy());
afterAll(() => system.stop());

const OUTAGE_MS = isFullRun ? 60_000 : 15_000;

rounds(`Postgres killed, and away for ${OUTAGE_MS / 1_000} s, fails no item`, async (random) => {
  const { postgres } = system.stack;
  await system.worker();
  const { id } = await submitSlow(60);
  await atWork(id, random.between(0, 500));
  await postgres!.stop("kill");
  await sleep(OUTAGE_MS);
  await postgres!.start();
  expect(await system.ended(id)).toMatchObject({ state: "completed", result: { succeeded: 60 } });
  expect(await chargedItems(id)).toBe(0);
  await system.sound();
});

longRounds("Temporal killed in the middle of a batch costs nothing but time", async (random) => {
  const { temporal } = system.stack;
  await system.worker();
  const { id } = await submitSlow(60);
  await atWork(id, random.between(0, 500));
  await temporal!.kill("SIGKILL");
  await sleep(random.between(0, 3_000));
  await temporal!.start();
  expect(await system.ended(id)).toMatchObject({ state: "completed", result: { succeeded: 60 } });
  await system.sound();
});

longRounds("a batch accepted while Temporal is down starts when it is back", async () => {
  const { temporal } = system.stack;
  await system.worker();
  await temporal!.kill("SIGKILL");
  const { id } = await system.submit(letters(10));
  await temporal!.start();
  expect(await system.ended(id)).toMatchObject({ state: "completed", result: { succeeded: 10 } });
  await system.sound();
});

rounds(
  "a cancel while Temporal is down ends the batch: nothing starts after it",
  async (random) => {
    const { temporal } = system.stack;
    await system.worker();
    const { id } = await submitSlow(200);
    await atWork(id, random.between(0, 500));
    await temporal!.kill("SIGKILL");
    await system.holdfast.operation.cancel(id);
    const { rows } = await system.db.query<{ at: Date }>("select clock_timestamp() as at");
    await temporal!.start();
    expect(await system.ended(id)).toMatchObject({ state: "cancelled" });
    expect(await succeededAfter(id, rows[0]!.at)).toBe(0);
    await system.sound();
  },
);

rounds("a workflow that was terminated, or wiped with its history, is adopted", async (random) => {
  const { temporal } = system.stack;
  const worker = await system.worker();
  const { id } = await submitSlow(120);
  await atWork(id, random.between(0, 500));
  if (random.seed % 2 === 1) {
    await worker.send("SIGKILL");
    await temporal!.kill("SIGKILL");
    await wipeTemporal();
    await temporal!.start();
    await system.worker();
  } else {
    const workflowId = operationWorkflowId({
      kind: "retain",
      tenant: "default",
      id,
      generation: 1,
    });
    await system.temporal.workflow.getHandle(workflowId).terminate("by an operator");
  }
  const { findings } = await repaired();
  expect(findings).toContainEqual(
    expect.objectContaining({ check: "workflow-lost", operationId: id, left: false }),
  );
  expect(await system.ended(id)).toMatchObject({ restarts: 1, result: { succeeded: 120 } });
  await system.sound();
});

rounds("everything killed at once and started in any order ends what was begun", async (random) => {
  const { postgres, temporal } = system.stack;
  const worker = await system.worker();
  const batches = await Promise.all([40, 40, 40].map(submitSlow));
  await atWork(batches[0]!.id, random.between(0, 500));
  await Promise.all(
    random
      .shuffle([
        () => worker.send("SIGKILL"),
        () => postgres!.stop("kill"),
        () => temporal!.kill("SIGKILL"),
      ])
      .map((kill) => kill()),
  );
  const starts = random.shuffle([() => postgres!.start(), () => temporal!.start()]);
  for (const start of starts) await start();
  await system.worker();
  for (const { id } of batches) {
    expect(await system.ended(id)).toMatchObject({ result: { succeeded: 40 } });
  }
  await system.sound();
});

/** One item after the other would take its time: 16 at once take 100 ms each. */
function submitSlow(items: number) {
  return system.submit(letters(items, "[[sleep 100]]"), { options: { batchItems: 20 } });
}

/** A page of it is in flight, and has been for `ms`. */
async function atWork(id: string, ms: number): Promise<void> {
  await system.eventually("it is at work", async () => {
    const { rowCount } = await system.db.query(
      "select from holdfast.flights where operation_id = $1",
      [id],
    );
    return rowCount! > 0;
  });
  await sleep(ms);
}

async function wipeTemporal(): Promise<void> {
  const dir = join(system.stack.dir, "temporal");
  const files = (await readdir(dir)).filter((name) => name.includes(".db"));
  await Promise.all(files.map((name) => rm(join(dir, name))));
}

async function chargedItems(id: string): Promise<number> {
  const { rows } = await system.db.query<{ n: number }>(
    `select count(*)::int as n from holdfast.attempts
      where operation_id = $1 and (attempts > 0 or crashes > 0)`,
    [id],
  );
  return rows[0]!.n;
}

async function succeededAfter(id: string, moment: Date): Promise<number> {
  const { rows } = await system.db.query<{ n: number }>(
    `select count(*)::int as n from holdfast.outcomes
      where operation_id = $1 and outcome = 'succeeded' and settled_at > $2`,
    [id, moment],
  );
  return rows[0]!.n;
}

function repaired() {
  const { databaseUrl, temporalAddress, namespace } = system.stack;
  const temporal = { address: temporalAddress, namespace };
  return runDoctor({ databaseUrl, temporal, repair: true });
}
