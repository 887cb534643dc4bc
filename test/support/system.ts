import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Client } from "@temporalio/client";
import { expect, onTestFailed } from "vitest";
import { connect, type Holdfast } from "../../client/index.ts";
import type { HoldfastConfig } from "../../contracts/config.ts";
import type { Accepted, OperationView } from "../../contracts/operation.ts";
import type { RetainSubmit } from "../../contracts/retain.ts";
import { migrate } from "../../db/migrate.ts";
import { openDb, type Db } from "../../db/pool.ts";
import { spawnWorker, type WorkerProcess } from "../../dev/spawn-worker.ts";
import { startStack, type Stack, type StackOptions } from "../../dev/stack.ts";
import { until } from "../../dev/until.ts";
import { runDoctor } from "../../workers/doctor.ts";
import { lazyClient } from "../../workers/temporal-client.ts";
import { gate, type Gate, type Obstacle } from "./gate.ts";
import { checkInvariants, type CheckOptions } from "./invariants.ts";

/** Servers of the file's own, to be killed, with workers that are processes. */
export interface System {
  readonly stack: Stack;
  readonly db: Db;
  readonly holdfast: Holdfast;
  readonly temporal: Client;
  /** A worker whose extractor obeys what is written in the text: see fixtures/obedient.config.ts. */
  worker(options?: {
    temporalAddress?: string;
    namespace?: string;
    /** Default: fixtures/obedient.config.ts. */
    config?: string;
  }): Promise<WorkerProcess>;
  /** Accepts a batch into a bank of its own. */
  submit(
    items: RetainSubmit["items"],
    settings?: Pick<RetainSubmit, "tenant" | "options">,
  ): Promise<Accepted>;
  /** Holds a session of the product at a place in the database. */
  gate(obstacle: Obstacle): Promise<Gate>;
  /** Waits for the condition, over a database that may be away. */
  eventually(what: string, probe: () => Promise<unknown>, withinMs?: number): Promise<void>;
  /** Items of an operation that have an outcome. */
  settled(id: string): Promise<number>;
  /** The terminal view, over a database that may be away. */
  ended(id: string, withinMs?: number): Promise<OperationView>;
  /** Every invariant holds, every operation has ended, and the doctor has nothing to say. */
  sound(options?: CheckOptions & { config?: HoldfastConfig }): Promise<void>;
  /** Ends workers and gates of the test. */
  tidy(): Promise<void>;
  /** Empties the database, after `tidy`. Rows of the migrations stay. */
  forget(): Promise<void>;
  stop(): Promise<void>;
}

const CONFIG = fileURLToPath(new URL("../system/fixtures/obedient.config.ts", import.meta.url));

export async function startSystem(
  options: Pick<StackOptions, "durability" | "temporalConfig"> = {},
): Promise<System> {
  const stack = await startStack({
    durability: "fast",
    environment: {},
    log: () => undefined,
    ...options,
  });
  const { databaseUrl, temporalAddress, namespace } = stack;
  await migrate(databaseUrl);
  const state = await mkdtemp(join(tmpdir(), "holdfast-obedient-"));
  const db = openDb({ url: databaseUrl, size: 6, name: "test" });
  const holdfast = connect({ databaseUrl, config: { webhooks: { allow: ["127.0.0.1"] } } });
  const { client: temporal, close } = lazyClient({ address: temporalAddress, namespace });
  let workers: WorkerProcess[] = [];
  let gates: Gate[] = [];
  let banks = 0;

  const system: System = {
    stack,
    db,
    holdfast,
    temporal,
    async worker(at = {}) {
      const worker = await spawnWorker({
        databaseUrl,
        temporalAddress: at.temporalAddress ?? temporalAddress,
        namespace: at.namespace ?? namespace,
        config: at.config ?? CONFIG,
        environment: { ...process.env, OBEDIENT_STATE: state },
      });
      workers.push(worker);
      onTestFailed(() => console.error(`worker ${worker.pid}:\n${worker.lines().join("\n")}`));
      // What a failed test left behind would be held against those after it.
      onTestFailed(() => system.forget());
      await worker.ready;
      return worker;
    },
    submit: (items, settings = {}) =>
      holdfast.retain.submit({ bank: `bank-${++banks}`, items, ...settings }),
    async gate(obstacle) {
      const made = await gate(databaseUrl, obstacle);
      gates.push(made);
      return made;
    },
    async eventually(what, probe, withinMs = 30_000) {
      await until(
        () => probe().catch(() => false),
        withinMs,
        () => `${what}: not`,
        50,
      );
    },
    async settled(id) {
      const { rows } = await db.query<{ n: number }>(
        "select count(*)::int as n from holdfast.outcomes where operation_id = $1",
        [id],
      );
      return rows[0]!.n;
    },
    async ended(id, withinMs = 60_000) {
      let view: OperationView | undefined;
      await system.eventually(
        `operation ${id} has ended`,
        async () => (view = await holdfast.operation.get(id)).finishedAt,
        withinMs,
      );
      return view!;
    },
    async sound({ config, ...how } = {}) {
      expect(await checkInvariants(db, { client: temporal, ...how })).toEqual([]);
      const { findings } = await runDoctor({
        databaseUrl,
        temporal: { address: temporalAddress, namespace },
        repair: false,
        ...(config && { config }),
      });
      // Workers that were killed are gone, as the doctor says.
      const unexpected = findings.filter(({ check }) => check !== "worker-vanished");
      expect(unexpected).toEqual([]);
    },
    async tidy() {
      await Promise.all(workers.map((worker) => worker.send("SIGKILL")));
      await Promise.all(gates.map((one) => one.open()));
      // One after another: each removal locks its table, and some share one.
      for (const one of gates) await one.remove();
      gates = [];
      workers = [];
    },
    async forget() {
      const { rows } = await db.query<{ tables: string }>(
        `select string_agg(format('%I.%I', schemaname, tablename), ', ') as tables
           from pg_tables where schemaname = 'holdfast'
            and tablename not in ('schema_migrations', 'installation', 'drains', 'index_lanes')`,
      );
      await db.query(`truncate ${rows[0]!.tables}`);
    },
    async stop() {
      await system.tidy().catch(() => undefined);
      await Promise.all([holdfast.close(), db.close(), close()]);
      await stack.stop();
      await rm(state, { recursive: true, force: true });
    },
  };
  return system;
}
