import type { ApiKeyRow } from "./api-keys.ts";
import type { Queryable } from "./pool.ts";

/** Sessions of the console: known by the sha-256 of a token that only the browser has. */

/** Begins a session of a key; of the same key the oldest go, so that at most `most` are open. */
export async function insertSession(
  db: Queryable,
  session: { hash: Buffer; keyId: string; lastsMs: number; most: number },
): Promise<void> {
  await db.query(
    `with crowded as (
       delete from holdfast.sessions
        where hash in (select hash from holdfast.sessions where key_id = $2
                        order by began_at desc offset $4 - 1)
     )
     insert into holdfast.sessions (hash, key_id, ends_at)
     values ($1, $2, clock_timestamp() + $3 * interval '1 millisecond')`,
    [session.hash, session.keyId, session.lastsMs, session.most],
  );
}

/** The live key behind a session that has not ended. */
export async function findSessionKey(db: Queryable, hash: Buffer): Promise<ApiKeyRow | undefined> {
  const { rows } = await db.query<ApiKeyRow>(
    `select k.id, k.name, k.role, k.tenants, k.created_by, k.created_at, k.revoked_at
       from holdfast.sessions s
       join holdfast.api_keys k on k.id = s.key_id
      where s.hash = $1 and s.ends_at > clock_timestamp() and k.revoked_at is null`,
    [hash],
  );
  return rows[0];
}

export async function deleteSession(db: Queryable, hash: Buffer): Promise<void> {
  await db.query("delete from holdfast.sessions where hash = $1", [hash]);
}
