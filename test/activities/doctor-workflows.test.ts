import { randomUUID } from "node:crypto";
import { fileURLToPath } from "node:url";
import { Client, Connection } from "@temporalio/client";
import { DefaultLogger, NativeConnection, Runtime, Worker } from "@temporalio/worker";
import { v7 as uuidv7 } from "uuid";
import { afterAll, beforeAll, expect, inject, onTestFinished, test } from "vitest";
import { doctorActivities, examine, type Finding } from "../../activities/doctor.ts";
import { startOperationWorkflow } from "../../activities/start-operation.ts";
import { operationWorkflowId } from "../../contracts/ids.ts";
import { CONTROL_QUEUE, JOB_QUEUE, WORK_QUEUE } from "../../contracts/task-queues.ts";
import { finishOperation } from "../../db/finish.ts";
import { findOperation, markRunning, type OperationRow } from "../../db/operations.ts";
import { installationOf } from "../../db/installation.ts";
import type { Db } from "../../db/pool.ts";
import { DOCTOR_SCHEDULE } from "../../activities/namespace-owner.ts";
import { ensureDoctorSchedule } from "../../workers/doctor-schedule.ts";
import { documents, fresh } from "../support/fresh.ts";
import { testNamespace } from "../support/namespace.ts";

// One worker for the file keeps its queues polled; each test has a database of its own.
let client: Client;
let examined: { db: Db } | undefined;
const stops: (() => unknown)[] = [];

Runtime.install({
  logger: new DefaultLogger("ERROR"),
  telemetryOptions: { logging: { filter: "ERROR", forward: {} } },
});

beforeAll(async () => {
  client = await testNamespace((close) => stops.push(close));
  const connection = await NativeConnection.connect({ address: inject("temporalAddress") });
  const common = { connection, namespace: client.options.namespace };
  const examineHere = () => doctorActivities({ db: examined!.db, client }).examine();
  const workers = await Promise.all([
    Worker.create({
      ...common,
      taskQueue: CONTROL_QUEUE,
      workflowsPath: fileURLToPath(new URL("./doctor-fixture.ts", import.meta.url)),
      activities: { examine: examineHere },
    }),
    Worker.create({ ...common, taskQueue: WORK_QUEUE, activities: { nothing: () => undefined } }),
    Worker.create({ ...common, taskQueue: JOB_QUEUE, activities: { nothing: () => undefined } }),
  ]);
  const running = Promise.all(workers.map((worker) => worker.run()));
  stops.unshift(async () => {
    for (const worker of workers) worker.shutdown();
    await running;
    await connection.close();
  });
});
afterAll(async () => {
  for (const stop of stops) await stop();
});

/** An operation that runs, with its workflow open. */
async function setup(scope = "notes"): Promise<{ db: Db; row: OperationRow }> {
  const { db, holdfast } = await fresh();
  await db.query("insert into holdfast.workers values ($1, 'w', '1')", [uuidv7()]);
  const { id } = await holdfast.retain.submit({ bank: scope, items: documents(2) });
  const row = (await db.transaction((tx) => markRunning(tx, id, 1)))!;
  await startOperationWorkflow(client, row);
  onTestFinished(async () => {
    await handleOf(row)
      .terminate("the test is over")
      .catch(() => undefined);
  });
  return { db, row };
}

const handleOf = (row: OperationRow) => client.workflow.getHandle(operationWorkflowId(row));

async function look(db: Db, repair = false, through = client): Promise<Finding[]> {
  const { findings, checks } = await examine({ db, client: through, repair });
  expect(checks.filter(({ notDone }) => notDone)).toEqual([]);
  return findings;
}

/** The same object with other members in places; methods are called on the object itself. */
function overridden<T extends object>(object: T, members: Record<string, unknown>): T {
  return new Proxy(object, {
    get(target, name: string) {
      if (Object.hasOwn(members, name)) return members[name];
      const member = Reflect.get(target, name) as unknown;
      return typeof member === "function" ? member.bind(target) : member;
    },
  });
}

test("a running operation with an open workflow is in order", async () => {
  const { db } = await setup();
  expect(await look(db)).toEqual([]);
});

test("a running operation that Temporal does not know is started again", async () => {
  const { db, row } = await setup();
  await db.query("update holdfast.operations set generation = 7 where id = $1", [row.id]);
  const lost = { ...row, generation: 7 };
  // Generation 1 is open and no longer needed, generation 7 was never started.
  const findings = await look(db);
  expect(findings.map(({ check, message }) => [check, message])).toEqual([
    ["workflow-lost", expect.stringContaining("not known to Temporal")],
    ["workflow-without-row", expect.stringContaining("its operation is at generation 7")],
  ]);

  const repairs = await look(db, true);
  expect(repairs.map(({ did, left }) => [did, left])).toEqual([
    ["started generation 7 again", false],
    ["terminated it", false],
  ]);
  expect((await handleOf(lost).describe()).status.name).toBe("RUNNING");
  expect((await handleOf(row).describe()).status.name).toBe("TERMINATED");
  expect((await findOperation(db, row.id))!.restarts).toBe(1);
  expect(await look(db)).toEqual([]);
  await handleOf(lost).terminate("the test is over");
});

test("a terminated workflow is started again at most five times, then its operation fails and says why", async () => {
  const { db, row } = await setup();
  for (let restart = 1; restart <= 5; restart++) {
    await handleOf(row).terminate("by an operator");
    const [finding, ...others] = await look(db, true);
    expect(others).toEqual([]);
    expect(finding).toMatchObject({
      check: "workflow-lost",
      message: expect.stringMatching(/is terminated$/),
      did: "started generation 1 again",
      left: false,
    });
    expect((await findOperation(db, row.id))!.restarts).toBe(restart);
  }
  await handleOf(row).terminate("by an operator");
  expect(await look(db, true)).toMatchObject([{ did: "failed it", left: false }]);
  const ended = (await findOperation(db, row.id))!;
  expect(ended.state).toBe("failed");
  expect(ended.reason).toMatch(/its workflow was lost 6 times: terminated/);
  expect(ended.result).toEqual({ lost: 2 });
  expect(await look(db)).toEqual([]);
});

test("a failed workflow is found with what it failed with", async () => {
  const { db } = await setup("fails");
  await until(async () => (await look(db)).length > 0);
  const [finding] = await look(db);
  expect(finding!.message).toMatch(/is failed: out of luck$/);
  expect(finding!.repair).toBe("start generation 1 again (restart 1 of 5)");
});

test("an operation that ends while the doctor looks is no finding", async () => {
  const { db, row } = await setup();
  await handleOf(row).terminate("as it does when it has ended");
  const workflow = Object.create(client.workflow, {
    getHandle: {
      value: (workflowId: string) => {
        const handle = client.workflow.getHandle(workflowId);
        const describe = async () => {
          await db.transaction((tx) =>
            finishOperation(tx, { ...row, outcome: "failed", reason: "meanwhile", by: "test" }),
          );
          return handle.describe();
        };
        return { ...handle, describe };
      },
    },
  }) as Client["workflow"];
  const slow = Object.create(client, { workflow: { value: workflow } }) as Client;
  const { findings } = await examine({ db, client: slow, repair: true });
  expect(findings).toEqual([]);
  expect((await findOperation(db, row.id))!.state).toBe("failed");
});

test("doctors at once adopt a lost operation once", async () => {
  const { db, row } = await setup();
  await handleOf(row).terminate("by an operator");
  let heldUp = () => {};
  const waiting = new Promise<void>((resolve) => (heldUp = resolve));
  let goOn = () => {};
  const gone = new Promise<void>((resolve) => (goOn = resolve));
  const slow = overridden(client, {
    workflow: overridden(client.workflow, {
      start: async (...args: Parameters<typeof client.workflow.start>) => {
        heldUp();
        await gone;
        return client.workflow.start(...args);
      },
    }),
  });
  const first = look(db, true, slow);
  await waiting;
  await look(db, true);
  goOn();
  await first;
  expect((await findOperation(db, row.id))!.restarts).toBe(1);
});

test("an open workflow of an operation that does not exist, or ended long ago, is terminated", async () => {
  const { db, row } = await setup();
  const { id } = row;
  await db.query(
    `update holdfast.operations set state = 'completed', finished_at = now() where id = $1`,
    [id],
  );
  const about = async () =>
    (await look(db)).filter(({ check }) => check.startsWith("workflow")).map((f) => f.message);
  await until(async () => await isListed(row));
  expect(await about()).toEqual([]); // it has just ended, and its workflow is about to
  await db.query("update holdfast.operations set finished_at = now() - interval '3 minutes'");
  expect(await about()).toEqual([
    expect.stringMatching(/is open, and its operation is completed$/),
  ]);
  for (const table of ["operations", "items", "sub_batches", "payloads"]) {
    await db.query(`delete from holdfast.${table}`);
  }
  const findings = await look(db, true);
  expect(findings).toMatchObject([
    { message: expect.stringMatching(/there is no such operation$/), did: "terminated it" },
  ]);
  expect(await look(db)).toEqual([]);
});

test("an accepted operation that no relay starts is started", async () => {
  const { db, row } = await setup();
  await handleOf(row).terminate("the test begins elsewhere");
  await db.query(
    `update holdfast.operations
        set state = 'accepted', started_at = null, due_at = now() - interval '2 minutes'`,
  );
  const findings = await look(db, true);
  // What is left is the row: whoever begins the workflow makes it running.
  expect(findings).toMatchObject([{ check: "relay-lag", did: "started it" }]);
  expect((await handleOf(row).describe()).status.name).toBe("RUNNING");
});

test("a workflow whose task fails again and again is found, and its history left alone", async () => {
  const { db, row } = await setup("throws");
  await until(async () => {
    const { raw } = await handleOf(row).describe();
    return (raw.pendingWorkflowTask?.attempt ?? 0) > 1;
  });
  expect(await look(db)).toEqual([]); // once is no pattern
  const limits = { workflowTaskAttempts: 1 };
  const { findings } = await examine({ db, client, repair: true, limits });
  expect(findings).toMatchObject([
    { check: "workflow-task-failing", subject: `workflow ${operationWorkflowId(row)}`, left: true },
  ]);
  expect((await handleOf(row).describe()).status.name).toBe("RUNNING");
});

test("work without a poller is found", async () => {
  const { db, row } = await setup();
  const elsewhere = await testNamespace();
  await startOperationWorkflow(elsewhere, row);
  const { findings } = await examine({ db, client: elsewhere, repair: false });
  expect(findings.map(({ subject }) => subject)).toEqual([
    `queue ${CONTROL_QUEUE}, workflow tasks`,
    `queue ${CONTROL_QUEUE}, activities`,
    `queue ${WORK_QUEUE}, activities`,
    `queue ${JOB_QUEUE}, activities`,
  ]);
});

test("without Temporal the doctor looks at rows, says what it could not do, and resolves nothing of that", async () => {
  const { db, row } = await setup();
  await handleOf(row).terminate("by an operator");
  expect(await look(db)).toHaveLength(1);

  // Left open: a retry of the SDK that comes after a close is an uncaught exception of its own.
  const connection = Connection.lazy({ address: "127.0.0.1:1" });
  const nowhere = new Client({ connection, namespace: "no-such-namespace" });
  const unknown = new Client({ connection: client.connection, namespace: "no-such-namespace" });
  for (const away of [nowhere, unknown]) {
    const { findings, checks } = await examine({ db, client: away, repair: true });
    expect(findings).toEqual([]);
    expect(checks.filter(({ notDone }) => notDone).map(({ name }) => name)).toEqual([
      "workflow-lost",
      "workflow-without-row",
      "workflow-task-failing",
      "queue-without-poller",
    ]);
  }
  const { rows } = await db.query("select 1 from holdfast.findings where resolved_at is null");
  expect(rows).toHaveLength(1);
  expect((await findOperation(db, row.id))!.restarts).toBe(0);
});

test("a namespace belongs to one database: another is told so, and ends none of its workflows", async () => {
  const { db, row } = await setup();
  await ensureDoctorSchedule(client, randomUUID());
  onTestFinished(() => client.schedule.getHandle(DOCTOR_SCHEDULE).delete());

  await expect(ensureDoctorSchedule(client, await installationOf(db))).rejects.toThrow(
    /belongs to another Holdfast database .* TEMPORAL_NAMESPACE/,
  );
  await db.query("delete from holdfast.operations where id = $1", [row.id]);
  const { checks } = await examine({ db, client, repair: true });
  expect(checks.find(({ name }) => name === "workflow-without-row")?.notDone).toMatch(
    /belongs to another Holdfast database/,
  );
  expect((await handleOf(row).describe()).status.name).toBe("RUNNING");
});

test("the schedule is made once, stays paused when a person paused it, and repairs what it finds", async () => {
  const { db, row } = await setup();
  examined = { db };
  const ours = await installationOf(db);
  await Promise.all([ensureDoctorSchedule(client, ours), ensureDoctorSchedule(client, ours)]);
  const schedule = client.schedule.getHandle(DOCTOR_SCHEDULE);
  await schedule.pause("for the test");
  await ensureDoctorSchedule(client, ours);
  expect((await schedule.describe()).state.paused).toBe(true);

  await handleOf(row).terminate("by an operator");
  await schedule.trigger();
  await until(async () => (await handleOf(row).describe()).status.name === "RUNNING");
  const { info } = await schedule.describe();
  const { workflowId } = (info.recentActions[0]!.action as { workflow: { workflowId: string } })
    .workflow;
  await expect(client.workflow.result(workflowId)).resolves.toEqual({
    found: 1,
    mended: 1,
    left: 0,
    notDone: [],
  });
  await schedule.delete();
});

async function isListed(row: OperationRow): Promise<boolean> {
  const query = `ExecutionStatus = "Running" and WorkflowId = "${operationWorkflowId(row)}"`;
  return (await client.workflow.count(query)).count === 1;
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; !(await condition()); tries++) {
    if (tries === 300) throw new Error("it did not come true");
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}
