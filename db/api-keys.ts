import { createHash } from "node:crypto";
import type { Role } from "../contracts/roles.ts";
import type { Queryable, Tx } from "./pool.ts";

/** API keys: only the sha-256 of a key is kept, so a key is shown once, when it is made. */

export interface ApiKeyRow {
  id: string;
  name: string;
  role: Role;
  /** Null: every tenant. */
  tenants: string[] | null;
  created_by: string;
  created_at: Date;
  revoked_at: Date | null;
}

export function hashKey(key: string): Buffer {
  return createHash("sha256").update(key).digest();
}

export async function insertApiKey(
  tx: Tx,
  key: { id: string; name: string; hash: Buffer; role: Role; tenants: string[] | null; by: string },
): Promise<void> {
  await tx.query(
    `insert into holdfast.api_keys (id, name, hash, role, tenants, created_by)
     values ($1, $2, $3, $4, $5, $6)`,
    [key.id, key.name, key.hash, key.role, key.tenants, key.by],
  );
}

/** The live key behind a presented secret. */
export async function findApiKey(db: Queryable, hash: Buffer): Promise<ApiKeyRow | undefined> {
  const { rows } = await db.query<ApiKeyRow>(
    `select id, name, role, tenants, created_by, created_at, revoked_at
       from holdfast.api_keys where hash = $1 and revoked_at is null`,
    [hash],
  );
  return rows[0];
}

export async function listApiKeys(db: Queryable): Promise<ApiKeyRow[]> {
  const { rows } = await db.query<ApiKeyRow>(
    `select id, name, role, tenants, created_by, created_at, revoked_at
       from holdfast.api_keys order by created_at, id`,
  );
  return rows;
}

/** False: unknown or revoked before. */
export async function revokeApiKey(tx: Tx, id: string): Promise<boolean> {
  const { rowCount } = await tx.query(
    `update holdfast.api_keys set revoked_at = clock_timestamp()
      where id = $1 and revoked_at is null`,
    [id],
  );
  return rowCount === 1;
}
