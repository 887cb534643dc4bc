import { v7 as uuidv7 } from "uuid";
import type { Queryable } from "../../db/pool.ts";

/** Columns of an operation row, by name; the rest is as a small accepted retain has it. */
export type OperationColumns = Record<string, unknown>;

/** Writes operation rows as they would stand at some moment of their life. Answers their ids. */
export async function insertOperationRows(
  db: Queryable,
  rows: readonly OperationColumns[],
): Promise<string[]> {
  const ids: string[] = [];
  for (const columns of rows) {
    const row: OperationColumns = {
      id: uuidv7(),
      kind: "retain",
      tenant: "default",
      scope: "bank",
      digest: Buffer.from("digest"),
      total: 1,
      batches: 1,
      submitted_by: "test",
      ...(columns.state === "running" ? { started_at: new Date() } : {}),
      ...columns,
    };
    const names = Object.keys(row);
    await db.query(
      `insert into holdfast.operations (${names.join(", ")})
       values (${names.map((_, index) => `$${index + 1}`).join(", ")})`,
      Object.values(row),
    );
    ids.push(row.id as string);
  }
  return ids;
}
