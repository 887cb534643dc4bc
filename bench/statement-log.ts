import { open } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";

/** The server writes down every statement it is given, with who gave it: no count of ours between. */
export async function logStatements(databaseUrl: string): Promise<void> {
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
export async function linesOf(path: string, forMs: number): Promise<string[]> {
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

/** Of a line by one of ours; several statements in one message count as so many. */
export function statementsOf(line: string): { by: string }[] {
  const [, by, text] =
    /^(holdfast-[a-z]+)\|LOG: {2}(?:statement|execute [^:]*): (.*)$/.exec(line) ?? [];
  if (by === undefined || text === undefined) return [];
  return text
    .split(";")
    .filter((statement) => statement.trim() !== "")
    .map(() => ({ by }));
}
