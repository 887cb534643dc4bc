import { MockActivityEnvironment } from "@temporalio/testing";
import { DefaultLogger } from "@temporalio/worker";
import { operationActivities } from "../../activities/operation.ts";
import { retainActivities } from "../../activities/retain.ts";
import type { HoldfastConfig } from "../../contracts/config.ts";
import type { BatchRange, Finished, OperationRef, WorkReport } from "../../contracts/messages.ts";
import type { RetainSubmit } from "../../contracts/retain.ts";
import { findOperation } from "../../db/operations.ts";
import type { Db } from "../../db/pool.ts";
import { fresh, type Fresh } from "./fresh.ts";

export interface Working {
  begin(ref: OperationRef): Promise<unknown>;
  pages(ref: OperationRef, range: BatchRange, cancelled?: AbortSignal): Promise<WorkReport>;
  whole(ref: OperationRef): Promise<{ finished: Finished } | { report: WorkReport }>;
  finish(ref: OperationRef, outcome?: "failed" | "cancelled"): Promise<Finished>;
}

/** Runs something as an activity would run. Failures are what many tests are about: no log of them. */
export function inActivity<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
  const logger = new DefaultLogger("ERROR");
  const environment = new MockActivityEnvironment({}, { logger });
  signal?.addEventListener("abort", () => environment.cancel("CANCELLED"), { once: true });
  return environment.run<[], T, () => Promise<T>>(work);
}

/** The activities of one worker process, each call in an activity context of its own. */
export function worker(db: Db, config: HoldfastConfig = {}, identity = "worker"): Working {
  const { begin, finish } = operationActivities({ db, identity });
  const { retainPages, retainWhole } = retainActivities({ db, config, identity });
  return {
    begin: (ref) => inActivity(() => begin(ref)),
    pages: (ref, range, cancelled) => inActivity(() => retainPages(ref, range), cancelled),
    whole: (ref) => inActivity(() => retainWhole(ref)),
    finish: (ref, outcome = "failed") =>
      inActivity(() => finish(ref, { outcome, reason: "left open by its workflow" })),
  };
}

export interface Retaining extends Fresh {
  working: Working;
  /** Accepts a batch and answers what its workflow is given. */
  accept(input: Omit<RetainSubmit, "bank"> & { bank?: string }): Promise<OperationRef>;
  /** Works a batch to its end, as its workflow would; items put off are made due at once. */
  finished(ref: OperationRef, by?: Working): Promise<Finished>;
}

export async function retaining(config: HoldfastConfig = {}): Promise<Retaining> {
  const made = await fresh(config);
  const working = worker(made.db, config);
  return {
    ...made,
    working,
    async accept(input) {
      const { id } = await made.holdfast.retain.submit({ bank: "notes", ...input });
      return refOf(made.db, id);
    },
    async finished(ref, by = working) {
      for (let calls = 0; calls < 50; calls++) {
        const answer = await by.whole(ref);
        if ("finished" in answer) return answer.finished;
        if (answer.report.stop) return by.finish(ref);
        await makeDue(made.db);
      }
      throw new Error(`operation ${ref.id} does not come to its end`);
    },
  };
}

async function refOf(db: Db, id: string): Promise<OperationRef> {
  const row = await findOperation(db, id);
  const { kind, tenant, scope, generation, total, priority } = row!;
  return { kind, id, tenant, scope, generation, total, priority };
}

/** As if the waits between tries were over. */
export async function makeDue(db: Db): Promise<void> {
  await db.query("update holdfast.attempts set due_at = clock_timestamp() - interval '1 second'");
}

/** What stands for a bank, without ids and times: equal for equal histories of acceptance. */
export async function knowledgeOf(db: Db): Promise<unknown> {
  const { rows } = await db.query<{ knowledge: unknown }>(
    `select jsonb_build_object(
       'documents', (select jsonb_agg(jsonb_build_array(d.document_id, d.parts) order by d.document_id)
          from (select p.document_id, jsonb_agg(jsonb_build_object(
                   'mode', p.mode, 'size', p.size, 'tags', p.tags, 'metadata', p.metadata,
                   'context', p.context, 'happened', p.happened_at is not null,
                   'counted', jsonb_build_array(p.chunks, p.facts),
                   'text', (select md5(string_agg(c.text, '' order by c.no)) from holdfast.chunks c
                             where c.part_seq = p.seq),
                   'chunks', (select jsonb_agg(jsonb_build_array(c.no, c.start_at, c.end_at) order by c.no)
                                from holdfast.chunks c where c.part_seq = p.seq),
                   'facts', (select jsonb_agg(jsonb_build_array(f.chunk_no, f.ordinal, f.start_at,
                                      f.end_at, f.occurred_start, f.occurred_end, f.text,
                                      (select jsonb_agg(e.name order by e.entity)
                                         from holdfast.fact_entities e
                                        where e.part_seq = f.part_seq and e.chunk_no = f.chunk_no
                                          and e.ordinal = f.ordinal))
                                    order by f.chunk_no, f.ordinal)
                               from holdfast.facts f where f.part_seq = p.seq))
                 order by p.seq) as parts
                  from holdfast.document_parts p group by p.document_id) d),
       'strays', (select count(*) from holdfast.chunks c
                   where not exists (select from holdfast.document_parts p where p.seq = c.part_seq))
               + (select count(*) from holdfast.facts f
                   where not exists (select from holdfast.document_parts p where p.seq = f.part_seq))
               + (select count(*) from holdfast.staged_parts)
               + (select count(*) from holdfast.flights)) as knowledge`,
  );
  return rows[0]!.knowledge;
}

/** Text of each document: its parts in order of acceptance, joined with one newline. */
export async function textsOf(db: Db): Promise<Record<string, string>> {
  const { rows } = await db.query<{ document_id: string; text: string }>(
    `select document_id, string_agg(
              (select string_agg(c.text, '' order by c.no) from holdfast.chunks c
                where c.part_seq = p.seq), E'\\n' order by seq) as text
       from holdfast.document_parts p group by document_id`,
  );
  return Object.fromEntries(rows.map((row) => [row.document_id, row.text]));
}
