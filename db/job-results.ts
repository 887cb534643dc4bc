import type { JobResult } from "../contracts/job.ts";
import type { Page } from "../contracts/operation.ts";
import type { Queryable, Tx } from "./pool.ts";

/** What came back of items: one row a settled item, and those that came too late. */

export interface NewResult {
  itemNo: number;
  generation: number;
  lease: number;
  /** JSON text. */
  body: string | null;
  reference: string | null;
  counts: Record<string, number> | null;
  error: string | null;
  worker: string;
}

const COLUMNS = `item_no, generation, body, reference, counts, error, worker`;
const ROWS = `unnest($2::int[], $3::int[], $4::jsonb[], $5::text[], $6::jsonb[], $7::text[], $8::text[],
                     $9::int[], $10::text[])
                as r(${COLUMNS}, lease, why)`;

function valuesOf(operationId: string, results: readonly NewResult[], why: readonly string[] = []) {
  return [
    operationId,
    results.map((result) => result.itemNo),
    results.map((result) => result.generation),
    results.map((result) => result.body),
    results.map((result) => result.reference),
    results.map((result) => result.counts && JSON.stringify(result.counts)),
    results.map((result) => result.error),
    results.map((result) => result.worker),
    results.map((result) => result.lease),
    why,
  ];
}

/** Results that count for nothing, the first of each lease and item; how many. `why`: one for each. */
export async function insertLateResults(
  tx: Tx,
  operationId: string,
  results: readonly NewResult[],
  why: readonly string[],
): Promise<number> {
  if (results.length === 0) return 0;
  const { rowCount } = await tx.query(
    `insert into holdfast.late_results (operation_id, ${COLUMNS}, lease, why)
     select $1, ${COLUMNS}, lease, why from ${ROWS}
      order by item_no, generation, lease
     on conflict do nothing`,
    valuesOf(operationId, results, why),
  );
  return rowCount ?? 0;
}

/**
 * One page of results in order of items, of each the newest that stands. `after`: the last item seen.
 */
export async function listResults(
  db: Queryable,
  operationId: string,
  page: { after?: number | undefined; limit: number; errors?: boolean | undefined },
): Promise<Page<JobResult>> {
  const { rows } = await db.query<{
    item_no: number;
    key: string;
    generation: number;
    body: JobResult["result"] | null;
    kind: string | null;
    reference: string | null;
    counts: Record<string, number> | null;
    error: string | null;
    worker: string;
    at: Date;
  }>(
    `select r.item_no, i.key, r.generation, r.body, jsonb_typeof(r.body) as kind, r.reference,
            r.counts, r.error, r.worker, r.at
       from holdfast.job_results r
       join holdfast.items i on i.operation_id = $1 and i.no = r.item_no
      where r.operation_id = $1 and r.item_no > $2
        and ($4::boolean is null or (r.error is not null) = $4)
        and r.generation >= (select base_generation from holdfast.jobs where operation_id = $1)
        and not exists (select from holdfast.job_results newer
                         where newer.operation_id = $1 and newer.item_no = r.item_no
                           and newer.generation > r.generation)
      order by r.item_no limit $3`,
    [operationId, page.after ?? 0, page.limit + 1, page.errors ?? null],
  );
  const items = rows.slice(0, page.limit).map((row): JobResult => ({
    item: row.item_no,
    key: row.key,
    generation: row.generation,
    // A result may be null itself; then its row holds the JSON null.
    ...(row.kind === null ? {} : { result: row.body }),
    ...(row.reference === null ? {} : { reference: row.reference }),
    ...(row.error === null ? {} : { error: row.error }),
    ...(row.counts === null ? {} : { counts: row.counts }),
    worker: row.worker,
    at: row.at.toISOString(),
  }));
  return rows.length > page.limit ? { items, next: String(items.at(-1)!.item) } : { items };
}

/** How many results came too late, by why. */
export async function countLateResults(
  db: Queryable,
  operationId: string,
): Promise<Record<string, number>> {
  const { rows } = await db.query<{ why: string; n: number }>(
    `select why, count(*)::int as n from holdfast.late_results
      where operation_id = $1 group by why order by why`,
    [operationId],
  );
  return Object.fromEntries(rows.map((row) => [row.why, row.n]));
}
