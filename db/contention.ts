import type { Queryable } from "./pool.ts";

/** Who waits for whose lock, as one look sees it. */

export interface ContentionLook {
  /** Sessions behind one another: 0 when nobody waits, 1 when those waited for do not wait themselves. */
  depth: number;
  waiting: number;
  /** The longest that a session now sits in a transaction without a statement, ms. */
  idleInTransactionMs: number;
}

// Extending a file is waited for too, by whoever appends anywhere; nobody's row stands behind it. `union`
// keeps one row for each session and depth: a queue of n sessions has exponentially many paths. Sessions
// are looked at one after another, so two may be seen to wait for each other; a chain is never longer
// than those who wait.
const LOOK = `with recursive waiting as materialized (
    select pid, pg_blocking_pids(pid) as behind from pg_stat_activity
     where datname = current_database() and wait_event_type = 'Lock'
       and wait_event in ('transactionid', 'tuple', 'advisory')
  ), chain (pid, depth) as (
    select pid, 1 from waiting where cardinality(behind) > 0
    union
    select w.pid, c.depth + 1 from chain c join waiting w on c.pid = any(w.behind)
     where c.depth < (select count(*) from waiting)
  )
  select coalesce((select max(depth) from chain), 0) as depth,
         (select count(*)::int from waiting where cardinality(behind) > 0) as waiting,
         (select coalesce(max(extract(epoch from clock_timestamp() - state_change)) * 1000, 0)::int
            from pg_stat_activity
           where datname = current_database() and state like 'idle in transaction%'
         ) as "idleInTransactionMs"`;

/** One look over the sessions of this database. */
export async function lookForContention(db: Queryable): Promise<ContentionLook> {
  const { rows } = await db.query<ContentionLook>(LOOK);
  return rows[0]!;
}
