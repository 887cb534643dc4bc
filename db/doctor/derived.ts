import { addMarks } from "../marks.ts";
import { CONSOLIDATE } from "../observations.ts";
import { deleteDerived } from "../parts.ts";
import type { Queryable } from "../pool.ts";
import { deleteStagedParts } from "../staged-parts.ts";
import { MOST_SUBJECTS, type Found, type RowCheck } from "./check.ts";
import { newestOf } from "./windows.ts";

/** Invariants of what is derived from documents. */

const IS_SOURCELESS = (seq: string) => `
  not exists (select from holdfast.document_parts p where p.seq = ${seq})
  and not exists (select from holdfast.staged_parts s where s.part_seq = ${seq})`;

const derivedWithoutPart: RowCheck = {
  name: "derived-without-part",
  explanation: "chunks, facts and entities belong to a part, or to the staged work of an open item",
  async find({ db }) {
    const { rows } = await db.query<{ seq: string; tables: string[] }>(
      `with recursive ${newestOf("of_chunks", "chunks", "part_seq")},
            ${newestOf("of_facts", "facts", "part_seq")},
            ${newestOf("of_entities", "fact_entities", "part_seq")},
       seen as (
         select id, 'chunks' as name from of_chunks union all
         select id, 'facts' from of_facts union all
         select id, 'entities' from of_entities)
       select id as seq, array_agg(name order by name) as tables from seen
        where id is not null and ${IS_SOURCELESS("id")}
        group by id order by id limit ${MOST_SUBJECTS}`,
    );
    return rows.map(({ seq, tables }) => ({
      subject: `part ${seq}`,
      message: `there are ${tables.join(" and ")} of part ${seq}, and no such part`,
      repair: "delete them: no document shows them",
    }));
  },
  repair: ({ db }, { subject }) =>
    db.transaction(async (tx) => {
      const seq = subject.slice("part ".length);
      const { rows } = await tx.query(`select 1 where ${IS_SOURCELESS("$1::bigint")}`, [seq]);
      if (rows.length === 0) return undefined;
      await deleteDerived(tx, [seq]);
      return "deleted them";
    }),
};

const incompletePart: RowCheck = {
  name: "incomplete-part",
  explanation: "a part has the chunks and facts it was written with",
  async find({ db }) {
    const { rows } = await db.query<PartRow & { has_chunks: number; has_facts: number }>(
      `select * from (
         select p.*, b.tenant,
                (select count(*)::int from holdfast.chunks c where c.part_seq = p.seq) as has_chunks,
                (select count(*)::int from holdfast.facts f where f.part_seq = p.seq) as has_facts
           from (select seq, bank_id, document_id, chunks, facts from holdfast.document_parts
                  order by seq desc limit 1000) p
           join holdfast.banks b on b.id = p.bank_id and b.erased_at is null) as counted
        where has_chunks <> chunks or has_facts <> facts
        order by seq limit ${MOST_SUBJECTS}`,
    );
    return rows.map((row) => ({
      subject: `part ${row.seq}`,
      tenant: row.tenant,
      message:
        `document ${row.document_id}: ${row.has_chunks} of ${row.chunks} chunks and ` +
        `${row.has_facts} of ${row.facts} facts are there. Submit the document again`,
    }));
  },
};

interface PartRow {
  seq: string;
  bank_id: string;
  document_id: string;
  tenant: string;
  chunks: number;
  facts: number;
}

const partWithoutDocument: RowCheck = {
  name: "part-without-document",
  explanation: "a part belongs to a document",
  async find({ db }) {
    const { rows } = await db.query<PartRow>(
      `select p.seq, p.document_id, b.tenant
         from (select seq, bank_id, document_id from holdfast.document_parts
                order by seq desc limit 20000) p
         join holdfast.banks b on b.id = p.bank_id and b.erased_at is null
        where ${HAS_NO_DOCUMENT}
        order by p.seq limit ${MOST_SUBJECTS}`,
    );
    return rows.map((row) => ({
      subject: `part ${row.seq}`,
      tenant: row.tenant,
      message: `part ${row.seq} is of document ${row.document_id}, which has no row`,
      repair: "make the document's row anew, with this order of acceptance",
    }));
  },
  async repair({ db }, { subject }) {
    const { rowCount } = await db.query(
      `insert into holdfast.documents (bank_id, document_id, head_seq)
       select p.bank_id, p.document_id,
              (select max(seq) from holdfast.document_parts h
                where h.bank_id = p.bank_id and h.document_id = p.document_id
                  and h.mode = 'replace')
         from holdfast.document_parts p
        where p.seq = $1 and ${HAS_NO_DOCUMENT}
       on conflict do nothing`,
      [subject.slice("part ".length)],
    );
    return rowCount ? "made the document's row" : undefined;
  },
};

const HAS_NO_DOCUMENT = `not exists (select from holdfast.documents d
  where d.bank_id = p.bank_id and d.document_id = p.document_id)`;

const observationWithoutFact: RowCheck = {
  name: "observation-without-fact",
  explanation: "the facts an observation stands on exist",
  async find({ db }) {
    const { rows } = await db.query<{ id: string; name: string; tenant: string; gone: number }>(
      `select o.id, o.name, b.tenant, count(*)::int as gone
         from (select id, bank_id, name from holdfast.observations order by id desc limit 5000) o
         join holdfast.banks b on b.id = o.bank_id and b.erased_at is null
         join holdfast.observation_sources s on s.observation_id = o.id
        where ${FACT_IS_GONE}
        group by 1, 2, 3 order by 1 limit ${MOST_SUBJECTS}`,
    );
    return rows.map((row) => ({
      subject: `observation ${row.id}`,
      tenant: row.tenant,
      message: `the observation about ${row.name} stands on ${row.gone} facts that are gone`,
      repair: "delete it and consolidate its entity again",
    }));
  },
  repair: ({ db }, { subject }) =>
    db.transaction(async (tx) => {
      const { rows } = await tx.query<{ bank_id: string; entity: string }>(
        `delete from holdfast.observations o
          where o.id = $1
            and exists (select from holdfast.observation_sources s
                  where s.observation_id = o.id and ${FACT_IS_GONE})
         returning bank_id, entity`,
        [subject.slice("observation ".length)],
      );
      if (!rows[0]) return undefined;
      await addMarks(tx, CONSOLIDATE, rows[0].bank_id, [`entity/${rows[0].entity}`]);
      return "deleted it and marked its entity";
    }),
};

const FACT_IS_GONE = `not exists (select from holdfast.facts f
  where f.part_seq = s.part_seq and f.chunk_no = s.chunk_no and f.ordinal = s.ordinal)`;

const stagedOfSettled: RowCheck = {
  name: "staged-of-settled",
  explanation: "only open items have staged work",
  async find({ db }) {
    const { rows } = await db.query<{ seq: string; operation_id: string; item_no: number }>(
      `select s.part_seq as seq, s.operation_id, s.item_no from holdfast.staged_parts s
        where ${IS_ABANDONED} order by 1 limit ${MOST_SUBJECTS}`,
    );
    return rows.map((row): Found => ({
      subject: `staged part ${row.seq}`,
      operationId: row.operation_id,
      message: `item ${row.item_no} of operation ${row.operation_id} is settled, its staged work is there`,
      repair: "delete the staged work",
    }));
  },
  repair: ({ db }, { subject }) =>
    db.transaction(async (tx) => {
      const seq = subject.slice("staged part ".length);
      const { rows } = await tx.query(
        `select 1 from holdfast.staged_parts s where s.part_seq = $1 and ${IS_ABANDONED} for update`,
        [seq],
      );
      if (rows.length === 0) return undefined;
      // A part of the same number shows what was staged, so the chunks and facts stay.
      await deleteStagedParts(tx, [{ seq, keepDerived: await partExists(tx, seq) }]);
      return "deleted the staged work";
    }),
};

async function partExists(db: Queryable, seq: string): Promise<boolean> {
  const { rows } = await db.query("select 1 from holdfast.document_parts where seq = $1", [seq]);
  return rows.length > 0;
}

// The sweep of upkeep takes what is left behind; five minutes are many rounds of it.
const IS_ABANDONED = `(
  not exists (select from holdfast.operations op where op.id = s.operation_id)
  or exists (select from holdfast.operations op
       where op.id = s.operation_id and op.finished_at < clock_timestamp() - interval '5 minutes')
  or exists (select from holdfast.outcomes o join holdfast.operations op on op.id = o.operation_id
       where o.operation_id = s.operation_id and o.item_no = s.item_no
         and op.state in ('accepted', 'running')
         and o.settled_at < clock_timestamp() - interval '5 minutes'
         and (o.generation = op.generation or o.outcome not in ('failed', 'lost', 'cancelled'))))`;

export const DERIVED_CHECKS: readonly RowCheck[] = [
  derivedWithoutPart,
  incompletePart,
  partWithoutDocument,
  observationWithoutFact,
  stagedOfSettled,
];
