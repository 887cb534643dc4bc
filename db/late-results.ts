import type { LateResult } from "../contracts/job.ts";
import type { Page } from "../contracts/operation.ts";
import type { Queryable } from "./pool.ts";

export interface LateCursor {
  item: number;
  generation: number;
  lease: number;
}

/** One page of results that came too late, in order of items. `after`: the last one seen. */
export async function listLateResults(
  db: Queryable,
  operationId: string,
  page: { after?: LateCursor | undefined; limit: number },
): Promise<Page<LateResult>> {
  const { rows } = await db.query<{
    item_no: number;
    key: string;
    generation: number;
    lease: number;
    why: string;
    body: LateResult["result"] | null;
    kind: string | null;
    reference: string | null;
    counts: Record<string, number> | null;
    error: string | null;
    worker: string;
    at: Date;
  }>(
    `select r.item_no, i.key, r.generation, r.lease, r.why, r.body, jsonb_typeof(r.body) as kind,
            r.reference, r.counts, r.error, r.worker, r.at
       from holdfast.late_results r
       join holdfast.items i on i.operation_id = $1 and i.no = r.item_no
      where r.operation_id = $1 and (r.item_no, r.generation, r.lease) > ($2, $3, $4)
      order by r.item_no, r.generation, r.lease
      limit $5`,
    [
      operationId,
      page.after?.item ?? 0,
      page.after?.generation ?? 0,
      page.after?.lease ?? 0,
      page.limit + 1,
    ],
  );
  const items = rows.slice(0, page.limit).map((row): LateResult => ({
    item: row.item_no,
    key: row.key,
    generation: row.generation,
    lease: row.lease,
    why: row.why,
    // A result may be null itself; then its row holds the JSON null.
    ...(row.kind === null ? {} : { result: row.body }),
    ...(row.reference === null ? {} : { reference: row.reference }),
    ...(row.error === null ? {} : { error: row.error }),
    ...(row.counts === null ? {} : { counts: row.counts }),
    worker: row.worker,
    at: row.at.toISOString(),
  }));
  if (rows.length <= page.limit) return { items };
  const { item, generation, lease } = items.at(-1)!;
  return { items, next: `${item}.${generation}.${lease}` };
}
