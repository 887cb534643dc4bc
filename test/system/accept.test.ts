import { once } from "node:events";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, expect, onTestFinished } from "vitest";
import { spawnLeashed } from "../../dev/leash.ts";
import type { Obstacle } from "../support/gate.ts";
import { rounds } from "../support/rounds.ts";
import { letters } from "../support/letters.ts";
import { startSystem, type System } from "../support/system.ts";

const ITEMS = 150;
const SUBMITTER = fileURLToPath(new URL("fixtures/submit.ts", import.meta.url));

let system: System;
beforeAll(async () => (system = await startSystem()));
afterEach(() => system.tidy());
afterAll(() => system.stop());

rounds("a submitter killed anywhere inside its accept leaves nothing", async (random) => {
  const where = random.pick<Obstacle>([
    { table: "banks" },
    { table: "operations" },
    { table: "sub_batches", nth: random.between(1, 2) },
    { table: "items", nth: random.between(1, ITEMS) },
    { table: "payloads", nth: random.between(1, ITEMS) },
  ]);
  const before = await rowsOfBatches();
  const gate = await system.gate(where);
  const submitter = await submitting(`inside-${random.seed}`);
  await gate.reached();
  submitter.kill("SIGKILL");
  await gate.open();
  await system.eventually("its session has ended", noSubmitter);
  expect(await rowsOfBatches()).toEqual(before);
  await system.sound();
});

rounds(
  "a submitter killed while it commits leaves all of it, which is worked once",
  async (random) => {
    const key = `commit-${random.seed}`;
    const gate = await system.gate({ table: "operations", at: "commit" });
    const submitter = await submitting(key);
    await gate.reached();
    submitter.kill("SIGKILL");
    await gate.open();
    await system.eventually("its session has ended", noSubmitter);
    await system.sound({ settled: false });

    const again = await system.holdfast.retain.submit({ bank: key, key, items: letters(ITEMS) });
    expect(again).toMatchObject({ existing: true, state: "accepted", total: ITEMS });
    await system.worker();
    expect(await system.ended(again.id)).toMatchObject({ result: { succeeded: ITEMS } });
    await system.sound();
  },
);

async function submitting(key: string) {
  const child = spawnLeashed(process.execPath, ["--import", "tsx", SUBMITTER, key, String(ITEMS)], {
    env: { ...process.env, DATABASE_URL: system.stack.databaseUrl },
    stdio: ["ignore", "pipe", "inherit"],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  await once(createInterface({ input: child.stdout as Readable }), "line");
  return child;
}

async function noSubmitter(): Promise<boolean> {
  const { rowCount } = await system.db.query(
    "select from pg_stat_activity where application_name = 'holdfast-client' and state <> 'idle'",
  );
  return rowCount === 0;
}

async function rowsOfBatches(): Promise<Record<string, number>> {
  const tables = ["banks", "operations", "sub_batches", "items", "payloads", "events"];
  const counts = await Promise.all(
    tables.map(async (table) => {
      const { rows } = await system.db.query<{ n: number }>(
        `select count(*)::int as n from holdfast.${table}`,
      );
      return [table, rows[0]!.n] as const;
    }),
  );
  return Object.fromEntries(counts);
}
