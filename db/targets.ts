import { resolveBranch } from "./inbox-entities.ts";
import type { Db, Queryable, Tx } from "./pool.ts";

/** How targets outside are doing: what one worker finds out, all others know. */

export interface TargetState {
  defaultBranch: string | null;
  /** Entities of one call, as far as the target has stood them. Null: as configured. */
  batchSize: number | null;
  failures: number;
  /** Until then nobody asks it: ms from now, 0 when it may be asked. */
  waitMs: number;
  error: string | null;
}

/** Rows for a target and its lanes, where there are none; lanes that are no more go. */
export async function ensureTarget(tx: Tx, name: string, lanes: number): Promise<void> {
  await tx.query("insert into holdfast.targets (name) values ($1) on conflict do nothing", [name]);
  await tx.query(
    `insert into holdfast.drains (queue, lane) select 'target-' || $1, lane
       from generate_series(0, $2::int - 1) as lane on conflict do nothing`,
    [name, lanes],
  );
  await tx.query("delete from holdfast.drains where queue = 'target-' || $1 and lane >= $2", [
    name,
    lanes,
  ]);
}

export async function targetState(db: Queryable, name: string): Promise<TargetState> {
  const { rows } = await db.query<TargetState>(
    `select default_branch as "defaultBranch", batch_size as "batchSize", failures, error,
            coalesce(greatest(0, extract(epoch from retry_at - clock_timestamp()) * 1000), 0)::float8
              as "waitMs"
       from holdfast.targets where name = $1`,
    [name],
  );
  return rows[0] ?? { defaultBranch: null, batchSize: null, failures: 0, waitMs: 0, error: null };
}

/** It could not be asked: nobody asks again for so long. Answers how often in a row that is. */
export async function recordTargetFailing(
  db: Queryable,
  name: string,
  { error, waitMs, batchSize }: { error: string; waitMs: number; batchSize: number | undefined },
): Promise<void> {
  await db.query(
    `update holdfast.targets
        set failures = failures + 1, failing_since = coalesce(failing_since, clock_timestamp()),
            error = $2, batch_size = coalesce($4, batch_size),
            retry_at = clock_timestamp() + $3::float8 * interval '1 millisecond'
      where name = $1`,
    [name, error.slice(0, 1_000), waitMs, batchSize ?? null],
  );
}

/** It answers. `batchSize`: it would stand so many at once. */
export async function recordTargetWorking(
  db: Queryable,
  name: string,
  batchSize: number | undefined,
): Promise<void> {
  await db.query(
    `update holdfast.targets
        set failures = 0, failing_since = null, error = null, retry_at = null,
            batch_size = coalesce($2, batch_size)
      where name = $1 and (failures > 0 or $2::int is not null)`,
    [name, batchSize ?? null],
  );
}

/**
 * The target has said which branch is meant when none is named. What was taken in without one, by its
 * tenants that set none, belongs to it from now on.
 */
export async function learnDefaultBranch(db: Db, name: string, branch: string): Promise<void> {
  await db.query(
    `update holdfast.targets set default_branch = $2, branch_read_at = clock_timestamp()
      where name = $1`,
    [name, branch],
  );
  const { rows } = await db.query<{ tenant: string; branch: string }>(
    `select s.tenant, coalesce(s.default_branch, $2) as branch
       from holdfast.inventory_settings s
      where s.target = $1
        and exists (select from holdfast.entities e where e.tenant = s.tenant and e.branch is null
                       and e.operation is null)`,
    [name, branch],
  );
  for (const { tenant, branch } of rows) {
    await resolveBranch(db, tenant, branch);
  }
}
