import type { Queryable } from "./pool.ts";

/** What whoever waits for work asks, which writes nothing. */

export interface ReadyWork {
  pipeline: string;
  tenant: string;
  /** Batches; of one job at most `most` are counted. */
  ready: number;
}

/** What could be claimed of these pipelines now, and how many batches each of these holders holds. */
export async function readyWork(
  db: Queryable,
  pipelines: readonly string[],
  most: number,
  holders: readonly string[],
): Promise<{ ready: ReadyWork[]; held: Map<string, number> }> {
  const { rows } = await db.query<{ work: { ready: ReadyWork[]; held: Record<string, number> } }>(
    "select holdfast.ready_job_work($1, $2, $3) as work",
    [pipelines, most, holders],
  );
  const { ready, held } = rows[0]!.work;
  return { ready, held: new Map(Object.entries(held)) };
}
