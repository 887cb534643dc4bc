import { isOpen } from "../items.ts";
import { expireDueLeases } from "../job-leases.ts";
import { repairBatches } from "../job-stall.ts";
import { JOB_STAGE, SUMS_STAGE } from "../job-stages.ts";
import { closeJob } from "../jobs.ts";
import { ownOperation } from "../locks.ts";
import { lockOperation } from "../operations.ts";
import type { Db, Queryable } from "../pool.ts";
import { addDeltas, type Delta } from "../progress.ts";
import { MOST_SUBJECTS, type RowCheck } from "./check.ts";
import { about, count, type OperationSubject } from "./operation-subject.ts";
import { RECENT } from "./windows.ts";

/** Invariants of jobs: everything open is handed out, what is over has ended, and counts are the ledger. */

const IS_BARE = `${isOpen("i", "op.generation", "op.id")}
  and not exists (select from holdfast.job_batches b
                   where b.operation_id = op.id and b.generation = op.generation
                     and b.no = i.batch and b.state <> 'done')
  and not exists (select from holdfast.job_batches b
                   where b.operation_id = op.id and b.generation = op.generation
                     and b.no = -i.no and b.state <> 'done')`;

const itemNotHandedOut: RowCheck = {
  name: "job-item-not-handed-out",
  explanation:
    "each open item of a job stands in a batch that may be claimed, or that somebody holds",
  async find({ db }) {
    const { rows } = await db.query<OperationSubject & { bare: number; turn: boolean }>(
      `with ${RECENT}
       select * from (
         select op.id, op.tenant, op.kind,
                exists (select from holdfast.job_turns t where t.operation_id = op.id) as turn,
                (select count(*)::int from holdfast.items i
                  where i.operation_id = op.id and ${IS_BARE}) as bare
           from recent op
           join holdfast.jobs j on j.operation_id = op.id and j.open_generation = op.generation
          where op.state = 'running') as looked
        where bare > 0 or not turn
        order by id limit ${MOST_SUBJECTS}`,
    );
    return rows.map((row) =>
      about(
        row,
        row.bare > 0
          ? `${count(row.bare, "open item is", "open items are")} in no batch: nobody can ever claim them`
          : "it has no turn among the jobs of its pipeline: nobody can claim of it",
        "make what is missing",
      ),
    );
  },
  async repair({ db }, { operationId }) {
    const { made, turn } = await db.transaction(async (tx) => {
      const row = await lockedRunning(tx, operationId!);
      if (!row) return { made: 0, turn: false };
      const { rowCount } = await tx.query(
        "select from holdfast.job_turns where operation_id = $1",
        [operationId],
      );
      return { made: await repairBatches(tx, operationId!, row.generation), turn: rowCount === 0 };
    });
    if (made === 0 && !turn) return undefined;
    return made > 0 ? `made ${count(made, "batch", "batches")}` : "gave it a turn";
  },
};

/** `repairBatches` shares the operation; nothing else is needed of it here. */
async function lockedRunning(tx: Queryable, id: string) {
  const { rows } = await tx.query<{ generation: number }>(
    "select generation from holdfast.operations where id = $1 and state = 'running'",
    [id],
  );
  return rows[0];
}

/** Upkeep looks every few seconds; this is upkeep that does not. */
const LEASE_BOUND_S = 120;
const IS_LONG_OVER = `b.state = 'leased' and least(b.leased_until, b.beat_until)
  < clock_timestamp() - interval '${LEASE_BOUND_S} seconds'`;

const overdueLease: RowCheck = {
  name: "overdue-lease",
  explanation: "a lease that is over is ended within two minutes",
  async find({ db }) {
    const { rows } = await db.query<OperationSubject & { leases: number; holder: string }>(
      `select op.id, op.tenant, op.kind, o.leases, o.holder
         from (select b.operation_id, count(*)::int as leases, min(b.holder) as holder
                 from holdfast.job_batches b where ${IS_LONG_OVER} group by 1) o
         join holdfast.operations op on op.id = o.operation_id
        order by op.id limit ${MOST_SUBJECTS}`,
    );
    return rows.map((row) =>
      about(
        row,
        `${count(row.leases, "lease")} of ${row.holder} ended over two minutes ago, and nobody handed ` +
          "the items out again: no worker process is alive, or its upkeep fails",
        "end them now",
      ),
    );
  },
  async repair({ db }) {
    const { expired } = await expireDueLeases(db);
    return expired > 0 ? `ended ${count(expired, "lease")}` : undefined;
  },
};

const turnOfTerminal: RowCheck = {
  name: "turn-of-terminal",
  explanation: "only an open job is in turn, or has batches that may be claimed or are held",
  async find({ db }) {
    const { rows } = await db.query<OperationSubject>(
      `with ${RECENT}
       select op.id, op.tenant, op.kind from recent op
        where op.kind = 'job' and op.state not in ('accepted', 'running') and ${IS_STILL_OPEN}
        union
       select op.id, op.tenant, op.kind
         from holdfast.job_turns t join holdfast.operations op on op.id = t.operation_id
        where op.state not in ('accepted', 'running')
        order by 1 limit ${MOST_SUBJECTS}`,
    );
    return rows.map((row) =>
      about(row, "has ended, and is still handed out", "take it out of turn"),
    );
  },
  repair: ({ db }, { operationId }) =>
    db.transaction(async (tx) => {
      await ownOperation(tx, operationId!);
      const { rows } = await tx.query(
        `select from holdfast.operations op
          where op.id = $1 and op.state not in ('accepted', 'running') and ${IS_STILL_OPEN}
            for update`,
        [operationId],
      );
      if (rows.length === 0) return undefined;
      await closeJob(tx, operationId!);
      return "took it out of turn";
    }),
};

const IS_STILL_OPEN = `(
  exists (select from holdfast.job_turns t where t.operation_id = op.id)
  or exists (select from holdfast.job_debts d where d.operation_id = op.id)
  or exists (select from holdfast.jobs j
              where j.operation_id = op.id and j.open_generation is not null)
  or exists (select from holdfast.job_batches b
              where b.operation_id = op.id and b.state in ('ready', 'leased')))`;

const countsDiffer: RowCheck = {
  name: "job-counts-differ",
  explanation: "what a job counts and sums is what its ledger and its results hold, at work too",
  async find({ db }) {
    const { rows } = await db.query<OperationSubject & { ended: boolean }>(
      `with ${RECENT}
       select id, tenant, kind, state not in ('accepted', 'running') as ended
         from recent where kind = 'job' order by id`,
    );
    const drifts = await driftsOf(
      db,
      rows.map(({ id }) => id),
    );
    const found = rows.flatMap((row) => {
      // The ledger of what has ended is compared as that of every other operation is.
      const drift = (drifts.get(row.id) ?? []).filter(
        ({ stage }) => !row.ended || stage !== JOB_STAGE,
      );
      if (drift.length === 0) return [];
      const shown = drift
        .map(({ stage, outcome, n }) => `${stage} ${outcome} ${n > 0 ? "+" : ""}${n}`)
        .join(", ");
      const message = `what it counts differs from its ledger; missing: ${shown}`;
      return [about(row, message, "add the difference")];
    });
    return found.slice(0, MOST_SUBJECTS);
  },
  repair: ({ db }, { operationId }) => mendCounts(db, operationId!),
};

async function mendCounts(db: Db, id: string): Promise<string | undefined> {
  return db.transaction(async (tx) => {
    await ownOperation(tx, id);
    const row = await lockOperation(tx, id);
    const drift = row && (await driftsOf(tx, [id])).get(id);
    if (!drift) return undefined;
    await addDeltas(tx, id, `doctor/counts/${row.generation}/${Date.now()}`, drift);
    return "added the difference";
  });
}

/**
 * What has to be added to the progress of some jobs to make it what stands in their ledgers and results.
 * Only outcomes that stand count, as progress shows them; only results of items that succeeded so.
 */
async function driftsOf(db: Queryable, ids: readonly string[]): Promise<Map<string, Delta[]>> {
  if (ids.length === 0) return new Map();
  const { rows } = await db.query<Delta & { id: string }>(
    `with job as (
       select op.id, op.generation, j.base_generation
         from holdfast.operations op join holdfast.jobs j on j.operation_id = op.id
        where op.id = any($1)
     ), standing as materialized (
       select distinct on (o.operation_id, o.item_no)
              o.operation_id, o.item_no, o.generation, o.outcome
         from holdfast.outcomes o join job on job.id = o.operation_id
        where o.generation = job.generation
           or (o.outcome not in ('failed', 'lost', 'cancelled')
               and o.generation >= job.base_generation)
        order by o.operation_id, o.item_no, o.generation desc
     ), counted as (
       select operation_id, '${JOB_STAGE}' as stage, outcome, count(*) as n
         from standing group by 1, 3
       union all
       select s.operation_id, '${SUMS_STAGE}', c.key, sum(c.value::bigint)
         from standing s
         join holdfast.job_results r
           on r.operation_id = s.operation_id and r.item_no = s.item_no
          and r.generation = s.generation and r.counts is not null
        cross join lateral jsonb_each_text(r.counts) as c
        where s.outcome = 'succeeded'
        group by 1, 3
       union all
       select operation_id, stage, outcome, -n from holdfast.progress
        where operation_id = any($1) and stage in ('${JOB_STAGE}', '${SUMS_STAGE}')
       union all
       select operation_id, stage, outcome, -n from holdfast.progress_deltas
        where operation_id = any($1) and stage in ('${JOB_STAGE}', '${SUMS_STAGE}') and not folded
     )
     select operation_id as id, stage, outcome, sum(n)::float8 as n
       from counted group by 1, 2, 3 having sum(n) <> 0 order by 1, 2, 3`,
    [ids],
  );
  const drifts = new Map<string, Delta[]>();
  for (const { id, ...delta } of rows) drifts.set(id, [...(drifts.get(id) ?? []), delta]);
  return drifts;
}

const IS_UNSETTLED = `not exists (
  select from holdfast.outcomes o
   where o.operation_id = r.operation_id and o.item_no = r.item_no
     and o.generation = r.generation and o.outcome in ('succeeded', 'failed'))`;

const resultWithoutOutcome: RowCheck = {
  name: "result-without-outcome",
  explanation: "each result that counts is of an item that it settled",
  async find({ db }) {
    const { rows } = await db.query<OperationSubject & { extra: number }>(
      `with ${RECENT}
       select * from (
         select op.id, op.tenant, op.kind,
                (select count(*)::int from holdfast.job_results r
                  where r.operation_id = op.id and ${IS_UNSETTLED}) as extra
           from recent op where op.kind = 'job') as looked
        where extra > 0 order by id limit ${MOST_SUBJECTS}`,
    );
    return rows.map((row) =>
      about(
        row,
        `has ${count(row.extra, "result")} of items without such an outcome: rows were removed by ` +
          "hand or a restore was partial",
        "keep them among late results, where they count for nothing",
      ),
    );
  },
  repair: ({ db }, { operationId }) =>
    db.transaction(async (tx) => {
      await ownOperation(tx, operationId!);
      const { rowCount } = await tx.query(
        `with moved as (
           delete from holdfast.job_results r where r.operation_id = $1 and ${IS_UNSETTLED}
           returning operation_id, item_no, generation, body, reference, counts, error, worker, at
         )
         insert into holdfast.late_results
           (operation_id, item_no, generation, lease, why, body, reference, counts, error, worker, at)
         select operation_id, item_no, generation, 0, 'without outcome', body, reference, counts,
                error, worker, at
           from moved
         on conflict do nothing`,
        [operationId],
      );
      return rowCount ? `kept ${count(rowCount, "result")} as late` : undefined;
    }),
};

export const JOB_CHECKS: readonly RowCheck[] = [
  itemNotHandedOut,
  overdueLease,
  turnOfTerminal,
  countsDiffer,
  resultWithoutOutcome,
];
