import type { Queryable } from "./pool.ts";

/** The id of this database, made once by the migration that made its tables. */
export async function installationOf(db: Queryable): Promise<string> {
  const { rows } = await db.query<{ id: string }>("select id from holdfast.installation");
  return rows[0]!.id;
}
