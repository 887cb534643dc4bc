import { InvalidInput } from "../contracts/errors.ts";
import { JOB_LIMITS, type PostedResult } from "../contracts/job.ts";
import { SUMS_STAGE } from "./job-stages.ts";
import type { Db, Queryable } from "./pool.ts";

/** What a job sums of its results, by name: a bounded number of names, which readers show as they are. */

const MOST_JOBS = 1_000;
const known = new WeakMap<Db, Map<string, ReadonlySet<string>>>();

/**
 * Refuses results that would make a job sum more names than it may. Names that this process has seen
 * counted cost nothing; posts at once do not see one another's, so a few more may get in.
 * @throws InvalidInput that names the first result with a name too many
 */
export async function assertSumNames(
  tx: Queryable,
  db: Db,
  job: { operationId: string; generation: number },
  results: readonly { no: number; result: PostedResult }[],
): Promise<void> {
  const asked = results.filter(({ result }) => result.counts !== undefined);
  if (asked.length === 0) return;
  const cache = cacheOf(db);
  const key = `${job.operationId}/${job.generation}`;
  if (fits(asked, cache.get(key) ?? new Set())) return;
  const names = await namesSummed(tx, job.operationId);
  cache.delete(key);
  cache.set(key, new Set(names));
  if (cache.size > MOST_JOBS) cache.delete(cache.keys().next().value!);
  for (const { no, result } of asked) {
    for (const name of Object.keys(result.counts!)) {
      names.add(name);
      if (names.size > JOB_LIMITS.sums) throw tooMany(no, name);
    }
  }
}

function cacheOf(db: Db): Map<string, ReadonlySet<string>> {
  const cache = known.get(db) ?? new Map<string, ReadonlySet<string>>();
  known.set(db, cache);
  return cache;
}

function fits(asked: readonly { result: PostedResult }[], names: ReadonlySet<string>): boolean {
  return asked.every(({ result }) => Object.keys(result.counts!).every((name) => names.has(name)));
}

async function namesSummed(tx: Queryable, operationId: string): Promise<Set<string>> {
  const { rows } = await tx.query<{ name: string }>(
    `select outcome as name
       from (select outcome, n from holdfast.progress
              where operation_id = $1 and stage = '${SUMS_STAGE}'
             union all
             select outcome, n from holdfast.progress_deltas
              where operation_id = $1 and stage = '${SUMS_STAGE}' and not folded) as counted
      group by outcome having sum(n) <> 0`,
    [operationId],
  );
  return new Set(rows.map(({ name }) => name));
}

function tooMany(no: number, name: string): InvalidInput {
  const message =
    `a job sums at most ${JOB_LIMITS.sums} names, and ${JSON.stringify(name)} would be one more: ` +
    "put what differs from item to item into the result";
  return new InvalidInput([{ path: `results[${no}].counts`, message }]);
}
