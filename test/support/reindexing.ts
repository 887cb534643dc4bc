import { reindexActivities } from "../../activities/reindex.ts";
import { operationActivities } from "../../activities/operation.ts";
import { newContext, type Context } from "../../client/context.ts";
import { searchAuditClient } from "../../client/search-audit.ts";
import { searchReindexClient } from "../../client/search-reindex.ts";
import type { HoldfastConfig } from "../../contracts/config.ts";
import type { Finished, OperationRef, WorkReport } from "../../contracts/messages.ts";
import type { ReindexSubmit, SearchAudit, SearchAuditPage } from "../../contracts/reindex.ts";
import { findOperation } from "../../db/operations.ts";
import type { Db } from "../../db/pool.ts";
import { searchRegistry } from "../../domain/search.ts";
import { fresh } from "./fresh.ts";
import { inActivity } from "./retaining.ts";
import { install, makeTables, SEARCHED } from "./searched-sites.ts";

export { builtRows, differences, drained, RACKS, SEARCHED, SITES } from "./searched-sites.ts";

export interface Reindexing {
  db: Db;
  context: Context;
  submit(input?: ReindexSubmit): Promise<OperationRef>;
  audit(input?: SearchAudit): Promise<SearchAuditPage[]>;
  /** The activities of one worker process. */
  worker(using?: Db, config?: HoldfastConfig, draining?: AbortSignal): ReindexWorker;
  /** Works an operation to its end, as its workflow would. */
  finished(ref: OperationRef, by?: ReindexWorker): Promise<Finished>;
}

interface ReindexWorker {
  whole(ref: OperationRef): Promise<{ finished: Finished } | { report: WorkReport }>;
  pages(ref: OperationRef): Promise<WorkReport>;
  begin(ref: OperationRef): Promise<unknown>;
  finish(ref: OperationRef, outcome?: "failed" | "cancelled"): Promise<Finished>;
}

export async function reindexing({
  sites = 20,
  config = SEARCHED,
}: { sites?: number; config?: HoldfastConfig } = {}): Promise<Reindexing> {
  const { db } = await fresh(config);
  for (const schema of ["crm", "branch"]) await makeTables(db, schema, sites);
  const context = newContext({ db, config });
  const registry = searchRegistry(config, db.schema);
  for (const schema of ["crm", "branch"]) await install(db, schema, config);
  const client = {
    ...searchReindexClient(context, registry),
    ...searchAuditClient(context, registry),
  };
  const made: Reindexing = {
    db,
    context,
    async submit(input) {
      const { id } = await client.reindex(input);
      return refOf(db, id);
    },
    async audit(input) {
      const pages: SearchAuditPage[] = [];
      for await (const page of client.audit(input)) pages.push(page);
      return pages;
    },
    worker(using = db, of = config, draining) {
      const { reindexWhole, reindexPages } = reindexActivities({
        db: using,
        config: of,
        identity: "worker",
        ...(draining ? { draining } : {}),
      });
      const { begin, finish } = operationActivities({ db: using, identity: "worker" });
      return {
        whole: (ref) => inActivity(() => reindexWhole(ref)),
        pages: (ref) => inActivity(() => reindexPages(ref, { no: 1, from: 1, to: 1 })),
        begin: (ref) => inActivity(() => begin(ref)),
        finish: (ref, outcome = "failed") =>
          inActivity(() => finish(ref, { outcome, reason: "left open by its workflow" })),
      };
    },
    async finished(ref, by = made.worker()) {
      for (let calls = 0; calls < 50; calls++) {
        const answer = await by.whole(ref);
        if ("finished" in answer) return answer.finished;
        if (answer.report.stop) return by.finish(ref, "cancelled");
      }
      throw new Error(`operation ${ref.id} does not come to its end`);
    },
  };
  return made;
}

async function refOf(db: Db, id: string): Promise<OperationRef> {
  const row = await findOperation(db, id);
  const { kind, tenant, scope, generation, total, priority } = row!;
  return { kind, id, tenant, scope, generation, total, priority };
}
