import { open } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import type { Benchmark } from "./frame.ts";
import { openScene } from "./scene.ts";

export const benchmark: Benchmark = {
  name: "idle",
  question: "What does a worker without work ask of Postgres?",
  async run(frame) {
    const scene = await openScene(frame);
    await logStatements(scene.databaseUrl);
    await scene.startWorker();
    frame.note("one worker, no work");
    await sleep(frame.quick ? 3_000 : 15_000); // what a start does once is not counted
    const seconds = frame.quick ? 10 : FULL_CIRCLE_S;
    const log = join(scene.stack.dir, "postgres", "postgres.log");
    const said = await linesOf(log, seconds * 1_000);
    const statements = said.flatMap(statementsOf);
    frame.measure("idle, one worker, no work", statements.length / seconds, "statements/s", {
      below: 5,
    });
    const loops = statements.filter(({ by }) => by === "holdfast-upkeep").length;
    frame.measure("of these, relay and upkeep", loops / seconds, "statements/s");
    await frame.close();
  },
};

/** Everything done by the clock comes round at least once: the doctor takes longest, five minutes. */
const FULL_CIRCLE_S = 300;

/** The server writes down every statement it is given, with who gave it: no count of ours between. */
async function logStatements(databaseUrl: string): Promise<void> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    await client.query("alter system set log_line_prefix = '%a|'");
    await client.query("alter system set log_statement = 'all'");
    await client.query("select pg_reload_conf()");
  } finally {
    await client.end();
  }
}

/** What is added to a file in this time. */
async function linesOf(path: string, forMs: number): Promise<string[]> {
  const file = await open(path);
  try {
    const from = (await file.stat()).size;
    await sleep(forMs);
    const length = (await file.stat()).size - from;
    const bytes = Buffer.alloc(length);
    await file.read(bytes, 0, length, from);
    return bytes.toString().split("\n");
  } finally {
    await file.close();
  }
}

/** Of a worker's line; several statements in one message count as so many. */
function statementsOf(line: string): { by: string }[] {
  const [, by, text] =
    /^(holdfast-[a-z]+)\|LOG: {2}(?:statement|execute [^:]*): (.*)$/.exec(line) ?? [];
  if (by === undefined || text === undefined) return [];
  return text
    .split(";")
    .filter((statement) => statement.trim() !== "")
    .map(() => ({ by }));
}
