import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Claim } from "../contracts/job.ts";
import { openDb, type Db } from "../db/pool.ts";
import type { Frame } from "./frame.ts";
import { runningJob } from "./job-scene.ts";
import { startJobServer } from "./job-server.ts";
import { linesOf, logStatements, statementsOf } from "./statement-log.ts";

const POLLERS = 1_000;
const WAIT_SECONDS = 20;
/** Rows that everybody would wait for. */
const JOB_ROWS = ["operations", "jobs", "job_turns", "job_debts", "job_batches"];

/** A thousand workers ask for work there is none of: all that is there is leased. */
export async function measureIdle(frame: Frame): Promise<void> {
  const postgres = await frame.postgres();
  const databaseUrl = await frame.database(postgres);
  const db = openDb({ url: databaseUrl, size: 1, name: "bench-watcher" });
  frame.atEnd(() => db.close());
  const server = await startJobServer(frame, databaseUrl);
  const ending = new AbortController();
  for (let no = 0; no < 5; no++) await runningJob(db, { items: 100 });
  const { batches } = await server.call<Claim>("/v1/jobs/claim", {
    pipelines: ["p"],
    limit: 100,
    worker: "idle-0",
  });
  if (batches.length !== 10) throw new Error(`${batches.length} batches were claimed, not all 10`);

  let answers = 0;
  const poll = async (no: number) => {
    while (!ending.signal.aborted) {
      const claim = await server.call<Claim>("/v1/jobs/claim", {
        pipelines: ["p"],
        waitSeconds: WAIT_SECONDS,
        worker: `idle-${no}`,
      });
      if (claim.batches.length > 0) throw new Error("there was something to claim");
      answers++;
    }
  };
  const polling = Promise.all(Array.from({ length: POLLERS }, (_, no) => poll(no)));
  polling.catch(() => undefined);
  frame.note(`${POLLERS} pollers, no work`);
  // They are known to the server, and marked as seen for the first time.
  await sleep(frame.quick ? 3_000 : 8_000);
  await logStatements(databaseUrl);
  const [before, answered] = [await versionsOf(db), answers];
  const seconds = frame.quick ? 10 : 30;
  const log = join(postgres.dir, "postgres", "postgres.log");
  const said = await Promise.race([linesOf(log, seconds * 1_000), polling.then(() => [])]);
  const asked = said.flatMap(statementsOf).length;
  const written = [...(await versionsOf(db))].filter((version) => !before.has(version));
  ending.abort();
  await polling;
  const what = `${POLLERS.toLocaleString("en")} idle pollers`;
  frame.measure(`${what}, asked of Postgres`, asked / seconds, "statements/s");
  frame.measure(`${what}, answered`, (answers - answered) / seconds, "polls/s");
  frame.measure(`${what}, rows of jobs written or locked`, written.length, "rows", { exactly: 0 });
  await frame.close();
}

/** Every version of every row there is, and who locked it: what is new later was written. */
async function versionsOf(db: Db): Promise<Set<string>> {
  const versions = JOB_ROWS.map(
    (table) =>
      `select tableoid::text || ctid::text || xmin::text || xmax::text as version
         from holdfast.${table}`,
  );
  const { rows } = await db.query<{ version: string }>(versions.join(" union all "));
  return new Set(rows.map(({ version }) => version));
}
