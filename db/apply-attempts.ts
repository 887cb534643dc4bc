import type { Change } from "../contracts/inventory.ts";
import type { Tx } from "./pool.ts";

/**
 * What was asked of a target, written down before it is asked: a worker that dies, or hears nothing,
 * leaves an attempt without an end, and who comes next asks the target what became of it.
 */

export interface NewAttempt {
  entity: string;
  /** Undefined: planned and applied in one call. */
  changeSet: string | undefined;
  /** The same for every try of one change set. */
  key: string;
}

/** Under one claim an entity has one attempt, whose change set is the newest. */
export async function beginAttempts(
  tx: Tx,
  token: string,
  attempts: readonly NewAttempt[],
): Promise<void> {
  if (attempts.length === 0) return;
  await tx.query(
    `insert into holdfast.apply_attempts (entity, token, change_set, key)
     select entity, $1, change_set, key
       from unnest($2::bigint[], $3::bigint[], $4::uuid[]) as a(entity, change_set, key)
     on conflict (entity, token) do update
        set change_set = excluded.change_set, key = excluded.key`,
    [
      token,
      attempts.map(({ entity }) => entity),
      attempts.map(({ changeSet }) => changeSet ?? null),
      attempts.map(({ key }) => key),
    ],
  );
}

export interface EndedAttempt {
  entity: string;
  answer: unknown;
}

/** Every attempt of these that has no end has this one. In the transaction that settles them. */
export async function endAttempts(tx: Tx, ended: readonly EndedAttempt[]): Promise<void> {
  if (ended.length === 0) return;
  await tx.query(
    `update holdfast.apply_attempts a
        set ended_at = clock_timestamp(), answer = e.answer
       from unnest($1::bigint[], $2::jsonb[]) as e(entity, answer)
      where a.entity = e.entity and a.ended_at is null`,
    [ended.map(({ entity }) => entity), ended.map(({ answer }) => JSON.stringify(answer))],
  );
}

/** Ids of the newest change sets of these entities. */
export async function newestChangeSets(
  tx: Tx,
  entities: readonly string[],
): Promise<Map<string, string>> {
  if (entities.length === 0) return new Map();
  const { rows } = await tx.query<{ entity: string; id: string }>(
    `select e.id as entity, c.id from unnest($1::bigint[]) as e(id)
      cross join lateral (select id from holdfast.change_sets where entity = e.id
                           order by id desc limit 1) c`,
    [entities],
  );
  return new Map(rows.map(({ entity, id }) => [entity, id]));
}

/** These change sets are what the target holds now. Answers their changes, by entity. */
export async function markApplied(
  tx: Tx,
  changeSets: readonly string[],
): Promise<Map<string, Pick<Change, "kind">[]>> {
  if (changeSets.length === 0) return new Map();
  const { rows } = await tx.query<{ entity: string; kinds: Change["kind"][] }>(
    `update holdfast.change_sets set applied_at = clock_timestamp()
      where id = any ($1::bigint[]) and applied_at is null
      returning entity, jsonb_path_query_array(changes, '$[*].kind') as kinds`,
    [changeSets],
  );
  return new Map(rows.map(({ entity, kinds }) => [entity, kinds.map((kind) => ({ kind }))]));
}
