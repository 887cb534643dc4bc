import pg from "pg";
import { InvalidInput, Unavailable } from "../contracts/errors.ts";

/**
 * The one way to Postgres. SQL is written with the schema prefix `holdfast.`; another schema name
 * is put in its place here. No session state is used, so PgBouncer in transaction mode works.
 */

export interface Rows<R> {
  rows: R[];
  rowCount: number | null;
}

/** Anything that runs a statement: a pool, a client, or the caller's own transaction. */
export interface Queryable {
  query<R = Record<string, unknown>>(text: string, values?: unknown[]): Promise<Rows<R>>;
}

/** A transaction of ours: statements see each other, and end together. */
export type Tx = Queryable;

export interface Db extends Queryable {
  readonly schema: string;
  /** Connections that may be open at once. */
  readonly size: number;
  transaction<T>(work: (tx: Tx) => Promise<T>, options?: TransactionOptions): Promise<T>;
  /** Wraps somebody else's open transaction, so that our statements run inside it. */
  within(tx: Queryable): Tx;
  close(): Promise<void>;
}

export interface TransactionOptions {
  /** Bound on every statement inside. Default 30,000 ms. */
  statementTimeoutMs?: number;
  /** Bound on every wait for somebody else's lock, then error 55P03. Default: that of the statement. */
  lockTimeoutMs?: number;
  readOnly?: boolean;
  /** One snapshot for all statements inside. */
  repeatableRead?: boolean;
  /** Large statements over few rows: compiling their plans would take longer than running them. */
  withoutJit?: boolean;
}

export interface DbOptions {
  url: string;
  schema?: string;
  /** Connections in the pool. Default 10. */
  size?: number;
  /** Shown in pg_stat_activity. */
  name?: string;
}

const DEFAULT_STATEMENT_TIMEOUT_MS = 30_000;

/**
 * For a transaction with statements over all items of an operation: of a million, each takes minutes on
 * a busy machine. It waits no longer than others for whom it does not own.
 */
export const OVER_ALL_ITEMS: TransactionOptions = {
  statementTimeoutMs: 300_000,
  lockTimeoutMs: 30_000,
};

const SCHEMA_NAME = /^[a-z_][a-z0-9_]{0,62}$/;

/** Opens a pool; connects lazily. `bigint` comes back as string, `date` as `YYYY-MM-DD`. */
export function openDb(options: DbOptions): Db {
  const schema = options.schema ?? "holdfast";
  if (!SCHEMA_NAME.test(schema)) {
    throw new Error(`schema name "${schema}": use lower-case letters, digits and _`);
  }
  const size = options.size ?? 10;
  const pool = new pg.Pool({
    connectionString: options.url,
    max: size,
    application_name: options.name ?? "holdfast",
    connectionTimeoutMillis: 10_000,
    idleTimeoutMillis: 30_000,
    keepAlive: true,
    types: { getTypeParser },
  });
  // An idle client that loses its server must not take the process down; the next query reconnects.
  pool.on("error", () => undefined);
  // The same of one that is lost in the moment it is handed out, before whoever asked has it; the
  // statement that follows reports it.
  pool.on("connect", (client) => client.on("error", () => undefined));
  const qualify = qualifier(schema);

  return {
    schema,
    size,
    query: runner(pool, qualify),
    transaction: (work, how) => inTransaction(pool, qualify, work, how),
    within: (tx) => ({ query: (text, values) => tx.query(qualify(text), values) }),
    close: async () => {
      if (!pool.ending) await pool.end();
    },
  };
}

/** `query` of a pg client or pool with the schema put in its place. */
export function runner(
  client: pg.Pool | pg.ClientBase,
  qualify: (text: string) => string,
): Queryable["query"] {
  // Row shapes are what each statement selects; they are stated where the statement stands.
  return (text, values) => client.query(qualify(text), values) as Promise<Rows<never>>;
}

/** Replaces the schema prefix, once per distinct statement text. */
export function qualifier(schema: string): (text: string) => string {
  if (schema === "holdfast") return (text) => text;
  const known = new Map<string, string>();
  return (text) => {
    let qualified = known.get(text);
    if (qualified === undefined) {
      if (known.size >= MOST_KNOWN) known.clear();
      qualified = text.replaceAll(/\bholdfast\./g, `${schema}.`);
      known.set(text, qualified);
    }
    return qualified;
  };
}

/** Statements that are made for a caller's choice of types have no end. */
const MOST_KNOWN = 2_000;

async function inTransaction<T>(
  pool: pg.Pool,
  qualify: (text: string) => string,
  work: (tx: Tx) => Promise<T>,
  options: TransactionOptions = {},
): Promise<T> {
  const client = await pool.connect();
  let broken: Error | undefined;
  try {
    await client.query(opening(options));
    const result = await work({ query: runner(client, qualify) });
    await client.query("commit");
    return result;
  } catch (error) {
    await client.query("rollback").catch((cause: Error) => {
      broken = cause;
    });
    throw error;
  } finally {
    client.release(broken);
  }
}

/**
 * A part of somebody else's open transaction that is all there or not at all: when `work` throws,
 * what it wrote is undone, and they may go on and commit.
 * @throws InvalidInput when there is no open transaction
 */
export async function inSavepoint<T>(tx: Tx, work: () => Promise<T>): Promise<T> {
  await tx.query("savepoint holdfast").catch((cause: unknown) => {
    if ((cause as { code?: string }).code !== NO_TRANSACTION) throw cause;
    const message = "is no open transaction: begin one, on one connection, or leave it out";
    throw new InvalidInput([{ path: "tx", message }]);
  });
  try {
    const result = await work();
    await tx.query("release savepoint holdfast");
    return result;
  } catch (error) {
    // Where even this fails the connection is lost, and everything with it: nobody may go on.
    await tx.query("rollback to savepoint holdfast");
    throw error;
  }
}

const NO_TRANSACTION = "25P01";

function opening(options: TransactionOptions): string {
  const mode = [
    // Said every time, for a database may have another default: what is read after a lock was waited for
    // has to be what stands then.
    ` isolation level ${options.repeatableRead ? "repeatable read" : "read committed"}`,
    options.readOnly ? " read only" : "",
  ].join("");
  const timeout = options.statementTimeoutMs ?? DEFAULT_STATEMENT_TIMEOUT_MS;
  return (
    `begin${mode}; set local statement_timeout = ${timeout}; ` +
    `set local idle_in_transaction_session_timeout = ${timeout}` +
    (options.lockTimeoutMs === undefined
      ? ""
      : `; set local lock_timeout = ${options.lockTimeoutMs}`) +
    (options.withoutJit ? "; set local jit = off" : "")
  );
}

const DATE = 1082;
// bool, bytea, int8, int2, int4, json, float8, int4[], text[], timestamptz, jsonb
const OURS = [16, 17, 20, 21, 23, 114, 701, 1007, 1009, 1184, 3802];
// Taken when this module is loaded: an application may give `pg.types` other parsers for itself.
const parsers = new Map(OURS.map((oid) => [oid, pg.types.getTypeParser(oid)]));
parsers.set(DATE, (text: string) => text);

// oxlint-disable-next-line typescript/no-explicit-any
function getTypeParser(oid: number, format?: any): any {
  return parsers.get(oid) ?? pg.types.getTypeParser(oid, format);
}

/** Waits for the first answer of the database, or says in one sentence why there is none. */
export async function assertReachable(db: Queryable): Promise<void> {
  try {
    await db.query("select 1");
  } catch (cause) {
    const why =
      cause instanceof Error
        ? cause.message || String((cause as { code?: string }).code)
        : String(cause);
    throw new Unavailable(
      "Postgres",
      `cannot reach Postgres (${why}): check DATABASE_URL, or start a local stack with "holdfast dev"`,
      cause,
    );
  }
}
