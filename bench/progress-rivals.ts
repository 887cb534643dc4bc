import pg from "pg";

/** Progress as it is written without a promise: the same rows into plain tables, transaction by transaction. */

export interface ProgressRivals {
  /** An appended count and an appended line. */
  append(writer: number, post: number): Promise<void>;
  /** The same rows by one statement, as ours are written. */
  appendAtOnce(writer: number, post: number): Promise<void>;
  /** The one row of the job is updated, and a line appended. */
  updateCounter(writer: number, post: number): Promise<void>;
  close(): Promise<void>;
}

export async function progressRivals(
  databaseUrl: string,
  operationId: string,
  connections: number,
): Promise<ProgressRivals> {
  const pool = new pg.Pool({ connectionString: databaseUrl, max: connections });
  await pool.query(
    `create schema rival;
     create table rival.counts (operation_id uuid not null, source text not null, n integer not null);
     create table rival.lines (at timestamptz not null default clock_timestamp(),
       operation_id uuid not null, level text not null, message text not null, fields jsonb);
     create table rival.jobs (id uuid primary key, done bigint not null default 0)`,
  );
  await pool.query("insert into rival.jobs (id) values ($1)", [operationId]);

  const inTransaction = async (work: (client: pg.PoolClient) => Promise<unknown>) => {
    const client = await pool.connect();
    try {
      await client.query("begin");
      await work(client);
      await client.query("commit");
    } finally {
      client.release();
    }
  };
  const post = (statement: string, values: unknown[], line: string) =>
    inTransaction(async (client) => {
      await client.query(statement, values);
      await client.query(
        "insert into rival.lines (operation_id, level, message, fields) values ($1, 'info', $2, $3)",
        [operationId, line, null],
      );
    });
  return {
    append: (writer, no) =>
      post(
        "insert into rival.counts (operation_id, source, n) values ($1, $2, $3)",
        [operationId, `writer-${writer}/${no}`, 1],
        lineOf(writer, no),
      ),
    appendAtOnce: (writer, no) =>
      inTransaction((client) =>
        client.query(
          `with counted as (
             insert into rival.counts (operation_id, source, n) values ($1, $2, $3)
           )
           insert into rival.lines (operation_id, level, message, fields)
           values ($1, 'info', $4, $5)`,
          [operationId, `writer-${writer}/${no}`, 1, lineOf(writer, no), null],
        ),
      ),
    updateCounter: (writer, no) =>
      post(
        "update rival.jobs set done = done + $2 where id = $1",
        [operationId, 1],
        lineOf(writer, no),
      ),
    close: () => pool.end(),
  };
}

export function lineOf(writer: number, post: number): string {
  return `writer ${writer} counted its result ${post}`;
}
