import type { Db, Queryable, Tx } from "../../db/pool.ts";

/**
 * The product with one of its guards taken away, for tests that show that other tests would notice.
 * The product knows nothing of them: statements are changed on their way to the database.
 */

/** Nobody waits for a lane: several work it at once. */
export function withoutLaneLocks(db: Db): Db {
  return altered(db, (text) =>
    text.replace(
      "pg_advisory_xact_lock($1, hashtext($2 || '/' || lane))",
      "$1::int, $2::text, lane",
    ),
  );
}

/** What is indexed are the rows of another schema, with what a writer believes to have written. */
export function believing(db: Db, schema: string, believed: string): Db {
  return altered(db, (text) => text.replaceAll(`from "${schema}".`, `from "${believed}".`));
}

/** What is written of objects is cleared before, where everybody sees it. */
export function clearingFirst(db: Db): Db {
  return {
    ...db,
    transaction: (work, options) =>
      db.transaction(
        (tx) =>
          work({
            async query(text, values) {
              if (text.includes("with fresh as materialized")) {
                await db.query(
                  `delete from holdfast.index_rows where key = any ($1::text[]) and index_id = $2`,
                  values!.slice(0, 2),
                );
              }
              return tx.query(text, values);
            },
          }),
        options,
      ),
  };
}

function altered(db: Db, alter: (text: string) => string): Db {
  const through = (inner: Queryable): Tx => ({
    query: (text, values) => inner.query(alter(text), values),
  });
  return {
    ...db,
    query: through(db).query,
    transaction: (work, options) => db.transaction((tx) => work(through(tx)), options),
    within: (tx) => through(db.within(tx)),
  };
}
