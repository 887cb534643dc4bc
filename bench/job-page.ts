import { connect } from "../client/index.ts";
import type { Db } from "../db/pool.ts";
import { percentile } from "./figures.ts";
import type { Frame } from "./frame.ts";
import { timed } from "./in-turn.ts";
import { POSTERS, preparedPosts, tenCallers } from "./job-scene.ts";
import { startJobServer, type JobServer } from "./job-server.ts";
import config from "./job.config.ts";

const POSTS = 1_000;
const LOOKS = 200;
const WARM = 20;

/** How long somebody waits who looks at a job that has said a million things. */
export async function measurePage(frame: Frame): Promise<void> {
  const databaseUrl = await frame.database(await frame.postgres());
  const holdfast = connect({ databaseUrl, poolSize: POSTERS, config });
  frame.atEnd(() => holdfast.close());
  const { db } = holdfast;
  const server = await startJobServer(frame, databaseUrl);
  // One in ten of its batches is still in somebody's hands.
  const calls = await preparedPosts(holdfast, 1, frame.quick ? 50 : POSTS);
  await tenCallers(calls.slice(0, calls.length * 0.9));
  const { items } = await holdfast.job.list();
  const { id } = items[0]!;
  const lines = frame.quick ? 10_000 : 1_000_000;
  frame.note(`${lines.toLocaleString("en")} log rows`);
  await insertLines(db, id, lines);
  await db.query("vacuum analyze");

  const of = `${lines.toLocaleString("en")} log rows`;
  const pages = {
    "job page over HTTP": `/v1/jobs/${id}`,
    "its newest lines": `/v1/operations/${id}/logs?newest=true&limit=100`,
    "its errors alone": `/v1/operations/${id}/logs?level=error&limit=100`,
    "its log as text": `/v1/jobs/${id}/log-text`,
    "its page in the console": `/jobs/${id}`,
  };
  for (const [name, path] of Object.entries(pages)) {
    const took = await looksAt(server, path, frame.quick ? 20 : LOOKS);
    frame.measure(`${name}, p95, ${of}`, percentile(took, 95), "ms", { below: 50 });
  }
  await frame.close();
}

async function looksAt(server: JobServer, path: string, looks: number): Promise<number[]> {
  const took: number[] = [];
  for (let no = 0; no < looks + WARM; no++) {
    const ms = await timed(() => server.text(path));
    if (no >= WARM) took.push(ms);
  }
  return took;
}

/** One line of a hundred is an error. */
async function insertLines(db: Db, operationId: string, lines: number): Promise<void> {
  const PER_STATEMENT = 100_000;
  for (let from = 0; from < lines; from += PER_STATEMENT) {
    await db.query(
      `insert into holdfast.logs (operation_id, level, message, fields)
       select $1, case when n % 100 = 0 then 'error' else 'info' end,
              'batch ' || n || ' was posted by worker-' || n % 40, jsonb_build_object('batch', n)
         from generate_series($2::int + 1, $3::int) as n`,
      [operationId, from, Math.min(lines, from + PER_STATEMENT)],
    );
  }
}
