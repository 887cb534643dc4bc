import type { FactForConsolidation } from "../contracts/plugins.ts";
import type { ObservationView } from "../contracts/retain.ts";
import { addMarks } from "./marks.ts";
import type { Queryable, Tx } from "./pool.ts";

/**
 * Observations: what consolidation says about an entity, and the facts it stands on. A mark of the
 * `consolidate` queue has the bank as scope and a key `part/<seq>` (a new part: look at its
 * entities) or `entity/<name>` (an observation lost a source).
 */

export const CONSOLIDATE = "consolidate";

/**
 * Removes observations that stand on facts of outgoing parts and marks their entities, so that the
 * surviving co-sources are consolidated again. Call before the facts go, under the knowledge lock.
 */
export async function dropObservationsOf(
  tx: Tx,
  bankId: string,
  partSeqs: readonly string[],
): Promise<number> {
  if (partSeqs.length === 0) return 0;
  const { rows } = await tx.query<{ entity: string }>(
    `delete from holdfast.observations
      where bank_id = $1
        and id in (select observation_id from holdfast.observation_sources where part_seq = any($2))
      returning entity`,
    [bankId, partSeqs],
  );
  await addMarks(
    tx,
    CONSOLIDATE,
    bankId,
    rows.map((row) => `entity/${row.entity}`),
  );
  return rows.length;
}

/** Entities that marks speak of, distinct. */
export async function entitiesOfMarks(
  db: Queryable,
  bankId: string,
  keys: readonly string[],
): Promise<string[]> {
  const parts = keys.filter((key) => key.startsWith("part/")).map((key) => key.slice(5));
  const named = keys.filter((key) => key.startsWith("entity/")).map((key) => key.slice(7));
  const { rows } = await db.query<{ entity: string }>(
    `select distinct entity from holdfast.fact_entities where part_seq = any($1) and bank_id = $3
     union
     select unnest($2::text[])`,
    [parts, named, bankId],
  );
  return rows.map((row) => row.entity);
}

export interface EntityFacts {
  entity: string;
  name: string;
  facts: FactForConsolidation[];
}

/** Visible facts about some entities, at most `perEntity` of the newest for each. */
export async function factsAbout(
  db: Queryable,
  bankId: string,
  entities: readonly string[],
  perEntity: number,
): Promise<EntityFacts[]> {
  const { rows } = await db.query<{
    entity: string;
    name: string;
    id: string;
    text: string;
    document_id: string;
    occurred_start: string | null;
    occurred_end: string | null;
  }>(
    `select e.entity, f.*
       from unnest($2::text[]) as e(entity)
      cross join lateral (
        select fe.name, fa.part_seq || '.' || fa.chunk_no || '.' || fa.ordinal as id, fa.text,
               p.document_id, fa.occurred_start, fa.occurred_end
          from holdfast.fact_entities fe
          join holdfast.facts fa
            on fa.part_seq = fe.part_seq and fa.chunk_no = fe.chunk_no and fa.ordinal = fe.ordinal
          join holdfast.document_parts p on p.seq = fe.part_seq
         where fe.bank_id = $1 and fe.entity = e.entity
         order by fe.part_seq desc, fe.chunk_no desc, fe.ordinal desc
         limit $3) f
      order by e.entity`,
    [bankId, entities, perEntity],
  );
  const byEntity = new Map<string, EntityFacts>();
  for (const row of rows) {
    const known = byEntity.get(row.entity) ?? { entity: row.entity, name: row.name, facts: [] };
    known.facts.push({
      id: row.id,
      text: row.text,
      documentId: row.document_id,
      ...(row.occurred_start ? { occurredStart: row.occurred_start } : {}),
      ...(row.occurred_end ? { occurredEnd: row.occurred_end } : {}),
    });
    byEntity.set(row.entity, known);
  }
  return [...byEntity.values()];
}

/** Entities of which a fact that was looked at is gone by now. Under the knowledge lock. */
export async function entitiesOvertaken(
  tx: Tx,
  looked: readonly { entity: string; facts: readonly { id: string }[] }[],
): Promise<string[]> {
  const facts = looked.flatMap(({ entity, facts }) =>
    facts.map(({ id }) => ({ entity, at: id.split(".") })),
  );
  const { rows } = await tx.query<{ entity: string }>(
    `select distinct l.entity
       from unnest($1::text[], $2::bigint[], $3::int[], $4::smallint[])
            as l(entity, part_seq, chunk_no, ordinal)
      where not exists (
        select from holdfast.facts f join holdfast.document_parts p on p.seq = f.part_seq
         where f.part_seq = l.part_seq and f.chunk_no = l.chunk_no and f.ordinal = l.ordinal)`,
    [
      facts.map((fact) => fact.entity),
      facts.map((fact) => fact.at[0]),
      facts.map((fact) => fact.at[1]),
      facts.map((fact) => fact.at[2]),
    ],
  );
  return rows.map((row) => row.entity);
}

export interface NewObservation {
  entity: string;
  name: string;
  text: string;
  /** Fact ids, `part.chunk.ordinal`. */
  sources: readonly string[];
}

/**
 * Puts observations in place of what stood about the same entities (`entities`: all that were
 * looked at, also those about which there is nothing to say). Sources that are gone by now are left
 * out, and an observation without two of them is not written. Under the exclusive knowledge lock.
 */
export async function replaceObservations(
  tx: Tx,
  bankId: string,
  entities: readonly string[],
  observations: readonly NewObservation[],
  consolidator: string,
): Promise<number> {
  await tx.query("delete from holdfast.observations where bank_id = $1 and entity = any($2)", [
    bankId,
    entities,
  ]);
  if (observations.length === 0) return 0;
  const sources = observations.flatMap(({ entity, sources }) =>
    sources.map((source) => ({ entity, at: source.split(".").map(Number) })),
  );
  const { rows } = await tx.query<{ written: number }>(
    `with standing as (
       select s.entity, f.part_seq, f.chunk_no, f.ordinal
         from unnest($5::text[], $6::bigint[], $7::int[], $8::smallint[])
              as s(entity, part_seq, chunk_no, ordinal)
         join holdfast.facts f
           on f.part_seq = s.part_seq and f.chunk_no = s.chunk_no and f.ordinal = s.ordinal
         join holdfast.document_parts p on p.seq = f.part_seq and p.bank_id = $1
     ), written as (
       insert into holdfast.observations (bank_id, entity, name, text, consolidator)
       select $1, o.entity, o.name, o.text, $9
         from unnest($2::text[], $3::text[], $4::text[]) as o(entity, name, text)
        where (select count(*) from standing s where s.entity = o.entity) >= 2
       on conflict do nothing
       returning id, entity
     ), sourced as (
       insert into holdfast.observation_sources (observation_id, part_seq, chunk_no, ordinal)
       select distinct w.id, s.part_seq, s.chunk_no, s.ordinal
         from written w join standing s on s.entity = w.entity
     )
     select count(*)::int as written from written`,
    [
      bankId,
      observations.map((one) => one.entity),
      observations.map((one) => one.name),
      observations.map((one) => one.text),
      sources.map((source) => source.entity),
      sources.map((source) => source.at[0]),
      sources.map((source) => source.at[1]),
      sources.map((source) => source.at[2]),
      consolidator,
    ],
  );
  return rows[0]!.written;
}

/** Observations of a bank by entity. */
export async function listObservations(
  db: Queryable,
  bankId: string,
  page: { entity?: string | undefined; after?: string | undefined; limit: number },
): Promise<ObservationView[]> {
  const { rows } = await db.query<{
    name: string;
    text: string;
    written_at: Date;
    sources: string[] | null;
  }>(
    `select o.name, o.text, o.written_at,
            (select array_agg(s.part_seq || '.' || s.chunk_no || '.' || s.ordinal
                              order by s.part_seq, s.chunk_no, s.ordinal)
               from holdfast.observation_sources s where s.observation_id = o.id) as sources
       from holdfast.observations o
      where o.bank_id = $1
        and ($2::text is null or o.entity = $2)
        and ($3::text is null or o.entity > $3)
      order by o.entity
      limit $4`,
    [bankId, page.entity ?? null, page.after ?? null, page.limit],
  );
  return rows.map((row) => ({
    entity: row.name,
    text: row.text,
    sources: row.sources ?? [],
    writtenAt: row.written_at.toISOString(),
  }));
}
