import type { Queryable } from "./pool.ts";

/** The id of this database, made once by the migration that made its tables. */
export async function installationOf(db: Queryable): Promise<string> {
  const { rows } = await db.query<{ id: string }>("select id from holdfast.installation");
  return rows[0]!.id;
}

/** The doctor has looked at everything it could. */
export async function markExamined(db: Queryable): Promise<void> {
  await db.query("update holdfast.installation set examined_at = clock_timestamp()");
}

/** When the doctor last looked; null: never. */
export async function lastExamined(db: Queryable): Promise<Date | null> {
  const { rows } = await db.query<{ examined_at: Date | null }>(
    "select examined_at from holdfast.installation",
  );
  return rows[0]!.examined_at;
}
