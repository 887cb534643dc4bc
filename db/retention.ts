import { NOW } from "./plan-due.ts";
import { BY_OPERATION, partitionsBefore, startOf } from "./partitions.ts";
import type { Queryable, Tx } from "./pool.ts";

/**
 * How long each table keeps what it holds: one line a table, and a table without a line is a finding
 * of the doctor. Rows of open operations are never touched.
 */

/** Days. */
export const KEEP = {
  payloadOfSucceeded: 1,
  payload: 30,
  operations: 90,
  logs: 30,
  audit: 400,
  events: 90,
  findings: 30,
  sessions: 1,
  workers: 1,
  pullWorkers: 7,
  entities: 90,
  rejects: 30,
  journal: 400,
} as const;

type Sweep = (tx: Tx, limit: number) => Promise<number>;

export interface RetentionLine {
  table: string;
  /** In words, for people and the documentation. */
  keeps: string;
  /** Deletes up to `limit` rows (or a partition) and answers how many. Absent: kept as its owner says. */
  sweep?: Sweep;
}

const ops = `${KEEP.operations} days after its end`;

export const RETENTION: readonly RetentionLine[] = [
  { table: "operations", keeps: ops, sweep: sweepOperations },
  { table: "sub_batches", keeps: `with its operation`, sweep: dropPartitions("sub_batches") },
  { table: "items", keeps: `with its operation`, sweep: dropPartitions("items") },
  { table: "outcomes", keeps: `with its operation`, sweep: dropPartitions("outcomes") },
  {
    table: "progress_deltas",
    keeps: `with its operation`,
    sweep: dropPartitions("progress_deltas"),
  },
  {
    table: "payloads",
    keeps: `${KEEP.payloadOfSucceeded} day after success, else ${KEEP.payload} days; of jobs with the operation`,
    sweep: async (tx, limit) =>
      (await sweepPayloads(tx, limit)) + (await dropPartitions("payloads")(tx, limit)),
  },
  { table: "jobs", keeps: "with its operation" },
  { table: "job_turns", keeps: "until its operation ends" },
  { table: "job_debts", keeps: "until its operation ends", sweep: sweepDebts },
  { table: "job_batches", keeps: "with its operation", sweep: dropPartitions("job_batches") },
  { table: "job_leases", keeps: "with its operation", sweep: dropPartitions("job_leases") },
  { table: "job_results", keeps: "with its operation", sweep: dropPartitions("job_results") },
  { table: "late_results", keeps: "with its operation", sweep: dropPartitions("late_results") },
  {
    table: "job_workers",
    keeps: `${KEEP.pullWorkers} days after it was last seen`,
    sweep: olderThan("job_workers", "seen_at", KEEP.pullWorkers),
  },
  { table: "progress", keeps: "with its operation" },
  { table: "attempts", keeps: "with its operation" },
  { table: "flights", keeps: "until its operation ends" },
  { table: "logs", keeps: `${KEEP.logs} days`, sweep: dropLogs },
  {
    table: "audit",
    keeps: `${KEEP.audit} days`,
    sweep: olderThan("audit", "at", KEEP.audit),
  },
  { table: "events", keeps: `${KEEP.events} days`, sweep: olderThan("events", "at", KEEP.events) },
  { table: "deliveries", keeps: "with its event" },
  { table: "delivery_attempts", keeps: "with its delivery" },
  { table: "webhooks", keeps: "until removed" },
  { table: "webhook_secrets", keeps: "with its webhook" },
  { table: "api_keys", keeps: "for ever, revoked ones too: the audit names them" },
  {
    table: "sessions",
    keeps: `${KEEP.sessions} day after its end`,
    sweep: olderThan("sessions", "ends_at", KEEP.sessions),
  },
  { table: "brakes", keeps: "until lifted" },
  { table: "marks", keeps: "until handled" },
  { table: "quarantine", keeps: "until released" },
  { table: "drains", keeps: "for ever, one row a drain" },
  {
    table: "workers",
    keeps: `${KEEP.workers} day after it was last seen`,
    sweep: olderThan("workers", "seen_at", KEEP.workers),
  },
  {
    table: "findings",
    keeps: `${KEEP.findings} days after they were resolved`,
    sweep: olderThan("findings", "resolved_at", KEEP.findings),
  },
  { table: "banks", keeps: "until a day after they are erased" },
  { table: "documents", keeps: "until erased" },
  { table: "document_parts", keeps: "until replaced or erased" },
  { table: "chunks", keeps: "with its part" },
  { table: "facts", keeps: "with its part" },
  { table: "fact_entities", keeps: "with its fact" },
  { table: "observations", keeps: "until its facts change" },
  { table: "observation_sources", keeps: "with its observation" },
  { table: "staged_parts", keeps: "until its operation ends" },
  { table: "search_indexes", keeps: "until uninstalled" },
  { table: "index_marks", keeps: "until handled" },
  { table: "index_rows", keeps: "with its object, in the generation that is searched" },
  { table: "index_lanes", keeps: "for ever, one row a lane" },
  { table: "index_gaps", keeps: "until audited" },
  {
    table: "ingest_requests",
    keeps: `${KEEP.entities} days, and until all that it brought has ended`,
    sweep: sweepRequests,
  },
  {
    table: "entities",
    keeps: `${KEEP.entities} days after nothing more happens to them, those of a plan with it; what a snapshot names stays, and the newest version of an object while it is rejected, sent again, or newer than one still to come`,
    sweep: sweepEntities,
  },
  {
    table: "entity_copies",
    keeps: `${KEEP.entities} days`,
    sweep: olderThan("entity_copies", "at", KEEP.entities),
  },
  {
    table: "inbox_rejects",
    keeps: `${KEEP.rejects} days`,
    sweep: olderThan("inbox_rejects", "at", KEEP.rejects),
  },
  {
    table: "apply_attempts",
    keeps: `${KEEP.entities} days`,
    sweep: olderThan("apply_attempts", "started_at", KEEP.entities),
  },
  { table: "targets", keeps: "for ever, one row a target" },
  { table: "plans", keeps: "with its operation" },
  { table: "inventory_scopes", keeps: "for ever, one row a scope" },
  { table: "scope_members", keeps: "until what it names is removed" },
  { table: "inventory_settings", keeps: "for ever, one row a tenant" },
  { table: "change_sets", keeps: "the newest 5 of each entity, with it" },
  { table: "objects", keeps: "until removed" },
  { table: "object_keys", keeps: "with its object" },
  { table: "inventory_keyed", keeps: "for ever, one row a branch" },
  { table: "object_refs", keeps: "with its object" },
  {
    table: "object_journal",
    keeps: `${KEEP.journal} days`,
    sweep: olderThan("object_journal", "at", KEEP.journal),
  },
  { table: "inventory_guards", keeps: "for ever, one row a branch" },
  { table: "inventory_counts", keeps: "until they are summed up" },
  { table: "inventory_sums", keeps: "for ever, one row a source, of 101 at most" },
  { table: "schema_migrations", keeps: "for ever" },
  { table: "installation", keeps: "for ever" },
];

/** One round over all lines. Answers what went, by table. */
export async function sweepRetention(tx: Tx, limit = 5_000): Promise<Record<string, number>> {
  const gone: Record<string, number> = {};
  for (const { table, sweep } of RETENTION) {
    const n = sweep ? await sweep(tx, limit) : 0;
    if (n > 0) gone[table] = n;
  }
  return gone;
}

function olderThan(table: string, column: string, days: number): Sweep {
  return async (tx, limit) => {
    const { rowCount } = await tx.query(
      `delete from holdfast.${table} where ctid in (
         select ctid from holdfast.${table}
          where ${column} < clock_timestamp() - $1 * interval '1 day' limit $2)`,
      [days, limit],
    );
    return rowCount ?? 0;
  };
}

// With the row go the small tables that are not partitioned; the others go by partition.
async function sweepOperations(tx: Tx, limit: number): Promise<number> {
  const { rows } = await tx.query<{ n: number }>(
    `with gone as (
       delete from holdfast.operations where id in (
         select id from holdfast.operations
          where finished_at < clock_timestamp() - $1 * interval '1 day' limit $2)
       returning id
     ), counts as (delete from holdfast.progress where operation_id in (select id from gone)),
        tries as (delete from holdfast.attempts where operation_id in (select id from gone)),
        jobs as (delete from holdfast.jobs where operation_id in (select id from gone)),
        plans as (delete from holdfast.plans where operation_id in (select id from gone))
     select count(*)::int as n from gone`,
    [KEEP.operations, limit],
  );
  return rows[0]!.n;
}

/** SQL: an older version of what `e` is about may still come to something. */
const HAS_OLDER_TO_COME = `exists (
  select from holdfast.entities o
   where o.tenant = e.tenant and o.branch = e.branch and o.identity = e.identity
     and o.operation is null and o.id < e.id and o.settled_at is null)`;

/**
 * SQL: `e` is the newest version, and what it says still counts: it was rejected, or sources send copies
 * of it, or it is what an older version that is still to come is compared with.
 */
const STILL_COUNTS = `(e.operation is null and not e.removal
  and not exists (select from holdfast.entities n
                   where n.tenant = e.tenant and n.branch = e.branch and n.identity = e.identity
                     and n.operation is null and not n.removal and n.id > e.id
                     and (n.settled_at is null or n.state in (3, 5, 6)))
  and (e.state = 6 and e.decided_by is not null
       or exists (select from holdfast.entity_copies c
                   where c.entity = e.id and c.at > ${NOW} - $1 * interval '1 day')
       or ${HAS_OLDER_TO_COME}))`;

async function sweepRequests(tx: Tx, limit: number): Promise<number> {
  const { rowCount } = await tx.query(
    `delete from holdfast.ingest_requests where id in (
       select id from holdfast.ingest_requests r
        where at < ${NOW} - $1 * interval '1 day'
          and not exists (select from holdfast.entities e
                           where e.request = r.id and e.settled_at is null)
        order by at limit $2)`,
    [KEEP.entities, limit],
  );
  return rowCount ?? 0;
}

async function sweepEntities(tx: Tx, limit: number): Promise<number> {
  const { rows } = await tx.query<{ n: number }>(
    `with gone as (
       delete from holdfast.entities where id in (
         select id from holdfast.entities e
          where settled_at < ${NOW} - $1 * interval '1 day'
            and not exists (select from holdfast.scope_members m where m.entity = e.id)
            and not exists (select from holdfast.operations op where op.id = e.operation)
            and not ${STILL_COUNTS}
          order by settled_at limit $2)
       returning id
     ), sets as (delete from holdfast.change_sets where entity in (select id from gone))
     select count(*)::int as n from gone`,
    [KEEP.entities, limit],
  );
  return rows[0]!.n;
}

/** A partition goes when everything in it is old and no operation of its time is left. */
function dropPartitions(table: (typeof BY_OPERATION)[number]): Sweep {
  return async (tx) => {
    const old = await partitionsBefore(tx, table, Date.now() - KEEP.operations * 86_400_000);
    for (const partition of old) {
      if (await hasOperations(tx, startOf(partition))) continue;
      await tx.query(`drop table holdfast.${partition}`);
      return 1;
    }
    return 0;
  };
}

async function hasOperations(db: Queryable, weekStart: number): Promise<boolean> {
  const { rows } = await db.query<{ left: boolean }>(
    `select exists (select from holdfast.operations
              where accepted_at < to_timestamp($1) + interval '8 days') as left`,
    [weekStart / 1_000],
  );
  return rows[0]!.left;
}

// A job may be run again over all of its items as long as it is there, and its payloads are small.
async function sweepPayloads(tx: Tx, limit: number): Promise<number> {
  const { rowCount } = await tx.query(
    `delete from holdfast.payloads p
      using (select p.operation_id, p.item_no, p.part
               from holdfast.operations op
               join holdfast.payloads p on p.operation_id = op.id
               left join lateral (
                 select outcome from holdfast.outcomes o
                  where o.operation_id = p.operation_id and o.item_no = p.item_no
                  order by generation desc limit 1) o on true
              where op.finished_at < clock_timestamp() - $1 * interval '1 day'
                and op.kind <> 'job'
                and (o.outcome in ('succeeded', 'unchanged', 'superseded')
                     or op.finished_at < clock_timestamp() - $2 * interval '1 day')
              limit $3) old
      where p.operation_id = old.operation_id and p.item_no = old.item_no and p.part = old.part`,
    [KEEP.payloadOfSucceeded, KEEP.payload, limit],
  );
  return rowCount ?? 0;
}

// A claim may commit after the job has ended: then nobody has the turn to settle what it owes.
async function sweepDebts(tx: Tx, limit: number): Promise<number> {
  const { rowCount } = await tx.query(
    `delete from holdfast.job_debts d
      using (select o.operation_id, o.no from holdfast.job_debts o
              where not exists (select from holdfast.job_turns t
                                 where t.operation_id = o.operation_id)
              limit $1) old
      where d.operation_id = old.operation_id and d.no = old.no`,
    [limit],
  );
  return rowCount ?? 0;
}

async function dropLogs(tx: Tx): Promise<number> {
  const [oldest] = await partitionsBefore(tx, "logs", Date.now() - KEEP.logs * 86_400_000);
  if (!oldest) return 0;
  await tx.query(`drop table holdfast.${oldest}`);
  return 1;
}
