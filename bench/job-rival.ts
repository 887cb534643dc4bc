import { randomUUID } from "node:crypto";
import pg from "pg";

/**
 * A job that everybody writes: its progress and its log lines are JSON in one row, which each result
 * rewrites under a lock. One transaction a post, as a service would do that stores results beside.
 *
 * `log`: all of that. `progress`: without the log. `counter`: the best that can be done with such a
 * row: all results in one statement, and the row rewritten once, last.
 */
export type RowWritten = "log" | "progress" | "counter";

/** Results of one post, and what they count. */
export const RESULTS_OF_A_POST = 50;
/** Newest first, the oldest dropped: what such rows are given so that they do not grow for ever. */
const KEPT_LINES = 1_000;

export interface JobRival {
  /** Posts results of the job that was begun last. */
  post(items: readonly number[], how: RowWritten): Promise<void>;
  /** A job that nothing was posted to. */
  begin(): Promise<void>;
  close(): Promise<void>;
}

interface Progress {
  summary: { status: string; progress: number };
  stages: {
    key: string;
    progress: number;
    processed: number;
    failed: number;
    detections: number;
  }[];
}

export async function jobRival(databaseUrl: string, connections: number): Promise<JobRival> {
  const pool = new pg.Pool({ connectionString: databaseUrl, max: connections });
  await pool.query(
    `create schema if not exists rival;
     create table rival.jobs (id uuid primary key, progress jsonb not null, logs jsonb not null,
       updated_at timestamptz not null default clock_timestamp());
     create table rival.results (job_id uuid not null, item integer not null, body jsonb not null,
       primary key (job_id, item))`,
  );
  let jobId = "";

  const writeOnce = async (client: pg.PoolClient, items: readonly number[]) => {
    await client.query("begin");
    const { rowCount } = await client.query(
      `insert into rival.results (job_id, item, body)
       select $1, * from unnest($2::int[], $3::jsonb[]) on conflict do nothing`,
      [jobId, items, items.map((item) => JSON.stringify(bodyOf(item)))],
    );
    await client.query(
      `update rival.jobs set updated_at = clock_timestamp(), progress = jsonb_set(progress,
         '{stages,0,processed}', to_jsonb((progress #>> '{stages,0,processed}')::int + $2::int))
        where id = $1`,
      [jobId, rowCount],
    );
    await client.query("commit");
  };

  const writeEach = async (client: pg.PoolClient, items: readonly number[], logged: boolean) => {
    await client.query("begin");
    const { rows } = await client.query<{ progress: Progress; logs: string[] }>(
      "select progress, logs from rival.jobs where id = $1 for update",
      [jobId],
    );
    const { progress, logs } = rows[0]!;
    for (const item of items) {
      const { rowCount } = await client.query(
        "insert into rival.results (job_id, item, body) values ($1, $2, $3) on conflict do nothing",
        [jobId, item, JSON.stringify(bodyOf(item))],
      );
      for (const stage of progress.stages) {
        if (rowCount === 1) {
          stage.processed++;
          stage.detections += 2;
          stage.progress = stage.processed / 1e6;
        }
        await client.query(
          "update rival.jobs set progress = $2, updated_at = clock_timestamp() where id = $1",
          [jobId, JSON.stringify(progress)],
        );
      }
      if (!logged) continue;
      logs.unshift(lineOf(item));
      logs.splice(KEPT_LINES);
      await client.query("update rival.jobs set logs = $2 where id = $1", [
        jobId,
        JSON.stringify(logs),
      ]);
    }
    await client.query("commit");
  };

  return {
    async begin() {
      jobId = randomUUID();
      const stages = ["process", "results"].map((key) => ({
        key,
        progress: 0,
        processed: 0,
        failed: 0,
        detections: 0,
      }));
      const progress: Progress = { summary: { status: "started", progress: 0 }, stages };
      await pool.query("insert into rival.jobs (id, progress, logs) values ($1, $2, $3)", [
        jobId,
        JSON.stringify(progress),
        // As it is in the middle of a job.
        JSON.stringify(Array.from({ length: KEPT_LINES }, (_, n) => lineOf(-n))),
      ]);
    },
    async post(items, how) {
      const client = await pool.connect();
      try {
        await (how === "counter"
          ? writeOnce(client, items)
          : writeEach(client, items, how === "log"));
      } finally {
        client.release();
      }
    },
    close: () => pool.end(),
  };
}

/** What comes of an item, here and there. */
export function bodyOf(item: number) {
  return { label: `species-${item % 97}`, score: 0.9, box: [item % 640, item % 480, 32, 32] };
}

function lineOf(item: number): string {
  return `[2026-01-01 00:00:00] INFO result of item ${item} saved: 2 detections, 1 classification`;
}
