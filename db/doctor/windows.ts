/**
 * How much one examination looks at. Tables hold months; what went wrong lately is at their new end,
 * so every check looks there first and has a bound.
 */

const FINISHED = 500;
const ITEMS = 300_000;

/**
 * CTE `recent`: every open operation up to a bound, and the latest terminal ones until they hold about
 * 300,000 items.
 */
export const RECENT = `recent as (
  (select id, kind, tenant, state, generation, total, batches from holdfast.operations
    where state in ('accepted', 'running') order by id desc limit ${FINISHED})
  union all
  (select id, kind, tenant, state, generation, total, batches
     from (select *, sum(total) over (order by finished_at desc, id) - total as before
             from (select id, kind, tenant, state, generation, total, batches, finished_at
                     from holdfast.operations
                    where finished_at is not null order by finished_at desc limit ${FINISHED}) as f
          ) as sized
    where before < ${ITEMS})
)`;

const STEPS = 2_000;

/**
 * Recursive CTE `name(id)`: distinct values of an indexed column from the largest down, one index
 * probe each, so that a table of any size costs the same.
 */
export function newestOf(name: string, table: string, column: string, where = "true"): string {
  return `${name} as (
    (select ${column} as id, 1 as step from holdfast.${table} where ${where}
      order by ${column} desc limit 1)
    union all
    select (select ${column} from holdfast.${table}
             where ${column} < ${name}.id and ${where} order by ${column} desc limit 1), step + 1
      from ${name} where id is not null and step < ${STEPS}
  )`;
}
