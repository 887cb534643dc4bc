import { randomInt } from "node:crypto";
import pg from "pg";
import { until } from "../../dev/until.ts";

/**
 * Obstacles in Postgres itself: triggers that hold, break or refuse the session that comes by, so that
 * a test can kill a process exactly there. The product knows nothing of them.
 */

export interface Obstacle {
  /** Table of the schema, such as `outcomes`. */
  table: string;
  on?: "insert" | "update" | "delete";
  /** `row`: inside the statement. `commit`: when all statements are done, before they are durable. */
  at?: "row" | "commit";
  /** Which row that comes by meets it, from 1 on; the others pass. */
  nth?: number;
  /** SQL over `new` (and `old`): rows that count. */
  when?: string;
}

export interface Gate {
  /** Resolves when a session stands before the gate. */
  reached(withinMs?: number): Promise<void>;
  /** Lets it through, and everybody after it. */
  open(): Promise<void>;
  /** Opens, and takes the trigger away. */
  remove(): Promise<void>;
}

const GATES = 4_299;

/** Holds the nth row until the gate is opened. */
export async function gate(databaseUrl: string, obstacle: Obstacle): Promise<Gate> {
  const id = randomInt(1, 2 ** 31 - 1);
  const client = new pg.Client({ connectionString: databaseUrl });
  client.on("error", () => undefined);
  await client.connect();
  await client.query("select pg_advisory_lock($1, $2)", [GATES, id]);
  const remove = await plant(
    databaseUrl,
    obstacle,
    `perform pg_advisory_xact_lock_shared(${GATES}, ${id})`,
  );
  let isOpen = false;
  let isRemoved = false;
  const open = async () => {
    if (isOpen) return;
    isOpen = true;
    await client.end();
  };
  return {
    async reached(withinMs = 20_000) {
      const waits = async () => {
        const { rowCount } = await client.query(
          `select from pg_locks where locktype = 'advisory' and classid = $1 and objid = $2
              and not granted`,
          [GATES, id],
        );
        return rowCount! > 0;
      };
      await until(waits, withinMs, () => `nobody came to the gate at ${obstacle.table}`);
    },
    open,
    async remove() {
      await open();
      if (isRemoved) return;
      isRemoved = true;
      await remove();
    },
  };
}

/** Ends the connection that writes the nth row, as a failover does. Answers how to take it away. */
export function disconnectAt(
  databaseUrl: string,
  obstacle: Obstacle,
): Promise<() => Promise<void>> {
  return plant(databaseUrl, obstacle, "perform pg_terminate_backend(pg_backend_pid())");
}

/** Refuses the nth row with an error of the given SQLSTATE. */
export function refuseAt(
  databaseUrl: string,
  obstacle: Obstacle,
  code: string,
): Promise<() => Promise<void>> {
  return plant(databaseUrl, obstacle, `raise exception 'injected' using errcode = '${code}'`);
}

// The count is a sequence, which no rollback takes back: a repeat of the row passes.
async function plant(
  databaseUrl: string,
  { table, on = "insert", at = "row", nth = 1, when = "true" }: Obstacle,
  act: string,
): Promise<() => Promise<void>> {
  const name = `obstacle_${randomInt(1, 2 ** 31 - 1)}`;
  const trigger =
    at === "commit"
      ? `create constraint trigger ${name} after ${on} on holdfast.${table}
           deferrable initially deferred for each row when (${when}) execute function public.${name}()`
      : `create trigger ${name} after ${on} on holdfast.${table}
           for each row when (${when}) execute function public.${name}()`;
  await run(
    databaseUrl,
    `create sequence public.${name}_seen;
     create function public.${name}() returns trigger language plpgsql as $body$
     begin
       if nextval('public.${name}_seen') = ${nth} then ${act}; end if;
       return null;
     end $body$;
     ${trigger}`,
  );
  return () =>
    run(
      databaseUrl,
      `drop trigger if exists ${name} on holdfast.${table};
       drop function public.${name}; drop sequence public.${name}_seen`,
    );
}

async function run(databaseUrl: string, sql: string): Promise<void> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    await client.query(sql);
  } finally {
    await client.end();
  }
}
