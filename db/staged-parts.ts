import { deleteDerived } from "./parts.ts";
import type { Queryable, Tx } from "./pool.ts";

/** Large items on their way in: written chunk by chunk before the part that shows them exists. */

export interface StagedPart {
  seq: string;
  /** Code points of the item that stand in written chunks. */
  position: number;
  chunks: number;
  facts: number;
}

interface StagedKey {
  seq: string;
  operationId: string;
  itemNo: number;
  bankId: string;
  extractor: string;
  chunkSize: number;
}

/**
 * How far an item is staged by this very extractor, beginning if nothing is there. What another
 * extractor staged is of no use and goes.
 */
export async function beginStagedPart(tx: Tx, key: StagedKey): Promise<StagedPart> {
  const { rows: stale } = await tx.query<{ part_seq: string }>(
    `delete from holdfast.staged_parts
      where part_seq = $1 and (extractor <> $2 or chunk_size <> $3) returning part_seq`,
    [key.seq, key.extractor, key.chunkSize],
  );
  await deleteUnshown(
    tx,
    stale.map((row) => row.part_seq),
  );
  await tx.query(
    `insert into holdfast.staged_parts
       (part_seq, operation_id, item_no, bank_id, extractor, chunk_size)
     values ($1, $2, $3, $4, $5, $6) on conflict do nothing`,
    [key.seq, key.operationId, key.itemNo, key.bankId, key.extractor, key.chunkSize],
  );
  const { rows } = await tx.query<StagedPart>(
    `select part_seq as seq, position, chunks, facts from holdfast.staged_parts
      where part_seq = $1 for update`,
    [key.seq],
  );
  return rows[0]!;
}

/** Moves forward from one position to the next. False: somebody else has moved it on before. */
export async function advanceStagedPart(
  tx: Tx,
  seq: string,
  from: number,
  step: { position: number; chunks: number; facts: number },
): Promise<boolean> {
  const { rowCount } = await tx.query(
    `update holdfast.staged_parts
        set position = $3, chunks = chunks + $4, facts = facts + $5,
            updated_at = clock_timestamp()
      where part_seq = $1 and position = $2`,
    [seq, from, step.position, step.chunks, step.facts],
  );
  return rowCount === 1;
}

/** Ends staging: the part shows what is written, or it all goes. */
export async function deleteStagedParts(
  tx: Tx,
  parts: readonly { seq: string; keepDerived: boolean }[],
): Promise<void> {
  if (parts.length === 0) return;
  await tx.query("delete from holdfast.staged_parts where part_seq = any($1)", [
    parts.map((part) => part.seq),
  ]);
  await deleteUnshown(
    tx,
    parts.filter((part) => !part.keepDerived).map((part) => part.seq),
  );
}

// A zombie may begin to stage an item that another attempt has written: what a part shows stays.
async function deleteUnshown(tx: Tx, seqs: readonly string[]): Promise<void> {
  if (seqs.length === 0) return;
  const { rows } = await tx.query<{ seq: string }>(
    `select seq from unnest($1::bigint[]) as s(seq)
      where not exists (select from holdfast.document_parts p where p.seq = s.seq)`,
    [seqs],
  );
  await deleteDerived(
    tx,
    rows.map((row) => row.seq),
  );
}

/** Staged work of items that are settled by now, or whose operation is gone. */
export async function findAbandonedParts(db: Queryable, limit: number): Promise<string[]> {
  const { rows } = await db.query<{ seq: string }>(
    `select s.part_seq as seq from holdfast.staged_parts s
      where not exists (select from holdfast.operations op
              where op.id = s.operation_id and op.state in ('accepted', 'running'))
      limit $1`,
    [limit],
  );
  return rows.map((row) => row.seq);
}
