import type { Change } from "../contracts/inventory.ts";
import type { Queryable, Tx } from "./pool.ts";
import type { Settlement } from "./plan-settle.ts";

/**
 * How plans and what they apply end, by the source of the entities. Whoever settles a batch appends a
 * row for each source of it, upkeep folds those into one row a source, readers see what is folded: no
 * two batches ever wait for one row, and the sums only grow.
 */

const COUNTS = [
  "planned",
  "plan_failed",
  "applied",
  "apply_failed",
  "created",
  "updated",
  "deleted",
] as const;
export type CountName = (typeof COUNTS)[number];

/** What one entity counts, place by place as `COUNTS`. */
export function countsOf({ state, failedAt, changes }: Settlement): readonly number[] {
  const failed = FAILED.has(state);
  const refused = failed && failedAt === "apply";
  const planned = PLANNED.has(state) || refused;
  const of = (kind: Change["kind"]) =>
    state === "applied" ? (changes ?? []).filter((change) => change.kind === kind).length : 0;
  return [
    Number(planned),
    Number(failed && !refused),
    Number(state === "applied"),
    Number(refused),
    of("create"),
    of("update"),
    of("delete"),
  ];
}

const PLANNED = new Set<Settlement["state"]>(["open", "applied", "no_changes", "ignored"]);
/** Tried again or not. */
const FAILED = new Set<Settlement["state"]>(["failed", "errored", "pending_retry"]);

/** SQL: appends what `settled` (request, counts: text) counts, by the source of the request. */
export const COUNT_SETTLED = `
  insert into holdfast.inventory_counts (source, ${COUNTS.join(", ")})
  select coalesce(r.source, 'forgotten'), ${COUNTS.map((name) => `sum(s.${name})`).join(", ")}
    from (select request, ${COUNTS.map(
      (name, place) => `sum(split_part(counts, ' ', ${place + 1})::int) as ${name}`,
    ).join(", ")}
            from settled where counts ~ '[1-9]' group by request) s
    left join holdfast.ingest_requests r on r.id = s.request
   group by 1`;

/** Sources with a row of their own; those that come later share one, called `other`. */
export const MOST_SOURCES = 100;

/** Folds up to `limit` rows into the sums. Answers how many. One at a time: see `takeDuty`. */
export async function foldCounts(tx: Tx, limit = 5_000): Promise<number> {
  const { rows } = await tx.query<{ folded: number }>(
    `with folded as (
       delete from holdfast.inventory_counts
        where id in (select id from holdfast.inventory_counts order by id limit $1)
       returning *
     ), fresh as (
       select source, row_number() over (order by source) as nth
         from (select distinct source from folded
               except select source from holdfast.inventory_sums) f
     ), room as (
       select ${MOST_SOURCES} - count(*) as left_over from holdfast.inventory_sums
     ), named as (
       select case when s.source is not null or f.nth <= room.left_over then folded.source
                   else 'other' end as name, folded.*
         from folded cross join room
         left join holdfast.inventory_sums s on s.source = folded.source
         left join fresh f on f.source = folded.source
     ), summed as (
       insert into holdfast.inventory_sums as i (source, ${COUNTS.join(", ")})
       select name, ${COUNTS.map((count) => `sum(${count})`).join(", ")}
         from named group by name order by name
       on conflict (source) do update
          set ${COUNTS.map((count) => `${count} = i.${count} + excluded.${count}`).join(", ")}
     )
     select count(*)::int as folded from folded`,
    [limit],
  );
  return rows[0]!.folded;
}

/** Whether there is anything to fold; asked far more often than there is. */
export async function hasCounts(db: Queryable): Promise<boolean> {
  const { rows } = await db.query<{ some: boolean }>(
    "select exists (select from holdfast.inventory_counts) as some",
  );
  return rows[0]!.some;
}

export type SourceCounts = { source: string } & Record<CountName, number>;

/** Every source with what it counts. */
export async function readCounts(db: Queryable): Promise<SourceCounts[]> {
  const { rows } = await db.query<SourceCounts>(
    `select source, ${COUNTS.map((name) => `${name}::float8`).join(", ")}
       from holdfast.inventory_sums order by source limit ${MOST_SOURCES + 1}`,
  );
  return rows;
}
