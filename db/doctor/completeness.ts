import { finishOperation } from "../finish.ts";
import { ownOperation } from "../locks.ts";
import { operationIdBound } from "../partitions.ts";
import type { Db } from "../pool.ts";
import { KEEP } from "../retention.ts";
import { MOST_SUBJECTS, type Found, type RowCheck } from "./check.ts";
import { about, count, type OperationSubject } from "./operation-subject.ts";
import { newestOf, RECENT } from "./windows.ts";

/** Invariants of parents and children: what was accepted together is there together. */

const neverFullySubmitted: RowCheck = {
  name: "never-fully-submitted",
  explanation: "an open operation has the items and payload it was accepted with",
  async find({ db }) {
    const { rows } = await db.query<OperationSubject & { total: number }>(
      `select op.id, op.tenant, op.kind, op.total from holdfast.operations op
        where op.state in ('accepted', 'running') and ${IS_HOLLOW}
        order by op.id limit ${MOST_SUBJECTS}`,
    );
    return rows.map((row) =>
      about(
        row,
        `accepted with ${count(row.total, "item")}, but has no item, no sub-batch and no payload`,
        "fail it: never fully submitted; resubmit",
      ),
    );
  },
  repair: ({ db }, { operationId }) => failHollow(db, operationId!),
};

const IS_HOLLOW = `op.total > 0
  and not exists (select from holdfast.items i where i.operation_id = op.id)
  and not exists (select from holdfast.sub_batches b where b.operation_id = op.id)
  and not exists (select from holdfast.payloads p where p.operation_id = op.id)`;

async function failHollow(db: Db, id: string): Promise<string | undefined> {
  return db.transaction(async (tx) => {
    await ownOperation(tx, id);
    const { rows } = await tx.query<{ generation: number }>(
      `select op.generation from holdfast.operations op
        where op.id = $1 and op.state in ('accepted', 'running') and ${IS_HOLLOW} for update`,
      [id],
    );
    if (!rows[0]) return undefined;
    const { generation } = rows[0];
    const reason = "never fully submitted; resubmit";
    await finishOperation(tx, { id, generation, outcome: "failed", reason, by: "doctor" });
    return "failed it";
  });
}

const missingChildren: RowCheck = {
  name: "missing-children",
  explanation: "an operation has all the sub-batches and items it was accepted with",
  async find({ db }) {
    const { rows } = await db.query<
      OperationSubject & { total: number; batches: number; items: number; subs: number }
    >(
      `with ${RECENT}
       select * from (
         select op.*,
                (select count(*)::int from holdfast.items i where i.operation_id = op.id) as items,
                (select count(*)::int from holdfast.sub_batches b
                  where b.operation_id = op.id) as subs
           from recent op) as counted
        where (items <> total or subs <> batches)
          and not (items = 0 and subs = 0 and not exists (select from holdfast.outcomes o
                     where o.operation_id = counted.id))
          and not (state in ('accepted', 'running') and exists (select from holdfast.jobs j
                     where j.operation_id = counted.id and j.collector is not null
                       and j.collected_at is null))
        order by id limit ${MOST_SUBJECTS}`,
    );
    return rows.map((row) =>
      about(
        row,
        `has ${row.items} of ${count(row.total, "item")} and ${row.subs} of ` +
          `${count(row.batches, "sub-batch", "sub-batches")}: rows were removed by hand or a restore ` +
          "was partial. Cancel it and submit again",
      ),
    );
  },
};

const childrenWithoutParent: RowCheck = {
  name: "children-without-parent",
  explanation: "sub-batches, items, outcomes, payloads and deltas belong to an operation",
  async find({ db }) {
    // Beyond this age an operation goes by retention, and its children with their partition.
    const oldest = operationIdBound(Date.now() - KEEP.operations * 86_400_000);
    const found: Found[] = [];
    for (const table of CHILDREN) {
      const { rows } = await db.query<{ id: string }>(
        `with recursive ${newestOf("seen", table, "operation_id", "operation_id >= $1")}
         select id from seen
          where id is not null
            and not exists (select from holdfast.operations op where op.id = seen.id)
          order by id limit ${MOST_SUBJECTS}`,
        [oldest],
      );
      found.push(
        ...rows.map(({ id }) => ({
          subject: `${table} of ${id}`,
          message: `there is no operation ${id}, but ${table} has rows of it`,
          operationId: id,
          repair: "delete the rows: nothing can ever work or show them",
        })),
      );
    }
    return found.slice(0, MOST_SUBJECTS);
  },
  async repair({ db }, { subject, operationId }) {
    const table = CHILDREN.find((name) => subject.startsWith(`${name} of `))!;
    const { rowCount } = await db.query(
      `delete from holdfast.${table}
        where operation_id = $1
          and not exists (select from holdfast.operations op where op.id = $1)`,
      [operationId],
    );
    return rowCount ? `deleted ${count(rowCount, "row")}` : undefined;
  },
};

const CHILDREN = [
  "sub_batches",
  "items",
  "outcomes",
  "payloads",
  "progress_deltas",
  "progress",
  "attempts",
  "flights",
  "jobs",
  "job_batches",
  "job_leases",
  "job_results",
  "late_results",
  "job_turns",
  "job_debts",
  "plans",
] as const;

export const COMPLETENESS_CHECKS: readonly RowCheck[] = [
  neverFullySubmitted,
  missingChildren,
  childrenWithoutParent,
];
