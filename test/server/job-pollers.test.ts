import { connect as dial, type Socket } from "node:net";
import { pino } from "pino";
import { expect, test, vi } from "vitest";
import { holdfastOver } from "../../client/index.ts";
import { newContext } from "../../client/context.ts";
import { openDb, type Db, type Queryable } from "../../db/pool.ts";
import { createServer } from "../../server/server.ts";
import { testDatabase } from "../support/database.ts";
import { aJob, claimed } from "../support/jobs.ts";
import { onPort } from "./listening.ts";

const POLLERS = 200;
const WAIT_SECONDS = 6;

/** A pool that tells of every statement. */
function counting(db: Db, told: string[]): Db {
  const watched = (queryable: Queryable): Queryable => ({
    query: (text, values) => {
      told.push(text);
      return queryable.query(text, values);
    },
  });
  return {
    ...db,
    ...watched(db),
    transaction: (work, options) => db.transaction((tx) => work(watched(tx)), options),
  };
}

/** Every row of every table that jobs have, with the transaction that wrote it last. */
async function rowsOf(db: Db): Promise<unknown> {
  const tables = ["operations", "jobs", "job_turns", "job_batches", "job_leases", "job_debts"];
  return Promise.all(
    tables.map(
      async (table) =>
        (await db.query(`select xmin::text, ctid::text from holdfast.${table} order by ctid`)).rows,
    ),
  );
}

test(
  "many idle pollers cost a few statements a second, and write to no row of a job",
  { timeout: 60_000 },
  async () => {
    const database = await testDatabase();
    const beside = openDb({ url: database.url, size: 2 });
    const told: string[] = [];
    const db = counting(openDb({ url: database.url, size: 8 }), told);
    const holdfast = holdfastOver(newContext({ db }));
    const app = createServer({
      holdfast,
      settings: { auth: "on", namespace: "default" },
      log: pino({ level: "silent" }),
    });
    const sockets: Socket[] = [];
    const server = await onPort(app);
    try {
      const { secret } = await holdfast.key.create({ name: "pollers", role: "service" });
      // Jobs there are, of other pipelines, and of this one whose every batch is held.
      await aJob(beside, { items: 30, pipeline: "another" });
      await aJob(beside, { items: 30 });
      expect(await claimed(beside, "holder", { limit: 3 })).toHaveLength(3);
      const before = await rowsOf(beside);

      const answers: string[] = [];
      for (let n = 0; n < POLLERS; n++) {
        const socket = dial(server.port, "127.0.0.1");
        sockets.push(socket);
        socket.setEncoding("utf8").on("data", (data: string) => answers.push(data));
        const body = JSON.stringify({
          pipelines: ["p"],
          worker: `w-${n}`,
          waitSeconds: WAIT_SECONDS,
        });
        socket.write(
          `POST /v1/jobs/claim HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer ${secret}\r\n` +
            `content-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
        );
      }
      // All have come in, and were noted.
      const noted = async () =>
        (await beside.query("select from holdfast.job_workers")).rows.length;
      await vi.waitFor(async () => expect(await noted()).toBe(POLLERS), { timeout: 5_000 });
      const from = told.length;
      const startedAt = performance.now();
      await vi.waitFor(() => expect(answers).toHaveLength(POLLERS), { timeout: 20_000 });
      const seconds = (performance.now() - startedAt) / 1_000;
      expect(seconds).toBeGreaterThan(1);
      for (const answer of answers) {
        expect(answer).toMatch(/^HTTP\/1.1 200 /);
        expect(answer).toContain('"batches":[]');
      }
      expect((told.length - from) / seconds).toBeLessThan(POLLERS / 4);
      expect(await rowsOf(beside)).toEqual(before);
    } finally {
      for (const socket of sockets) socket.destroy();
      await server[Symbol.asyncDispose]();
      await holdfast.close();
      await beside.close();
      await database.drop();
    }
  },
);
