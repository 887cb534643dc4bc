import type { HoldfastConfig } from "../contracts/config.ts";
import { assertInventory } from "../db/inventory-settings.ts";
import { openDb, type Db } from "../db/pool.ts";
import { bankClient, type BankClient } from "./bank.ts";
import { brakeClient, type BrakeClient } from "./brake.ts";
import { newContext, type Context } from "./context.ts";
import { documentClient, type DocumentClient } from "./document.ts";
import { inboxClient, type InboxClient } from "./inbox.ts";
import { inventoryClient, type InventoryClient } from "./inventory.ts";
import { jobLogOf } from "./job-log.ts";
import { jobClient, type JobClient } from "./job.ts";
import { keyClient, type KeyClient } from "./key.ts";
import { operationClient, type OperationClient } from "./operation.ts";
import { planClient, type PlanClient } from "./plan.ts";
import { retainClient, type RetainClient } from "./retain.ts";
import { reviewClient, type ReviewClient } from "./review.ts";
import { searchClient, type SearchClient } from "./search.ts";
import { sessionClient, type SessionClient } from "./session.ts";
import { webhookClient, type WebhookClient } from "./webhook.ts";

export interface ConnectOptions {
  /** Default: the environment's DATABASE_URL. */
  databaseUrl?: string;
  /** Schema of Holdfast's tables. Default `holdfast`. */
  schema?: string;
  /** Connections this client may open. Default 10. */
  poolSize?: number;
  /** What is plugged in; the validator is asked at accept. */
  config?: HoldfastConfig;
  /** Who acts: stands in the audit. Default `sdk`. */
  actor?: string;
  /** Restricts this client to some tenants. */
  tenants?: readonly string[];
}

/** Everything one process needs to hand work to Holdfast and to follow it. */
export interface Holdfast {
  readonly retain: RetainClient;
  readonly operation: OperationClient;
  readonly bank: BankClient;
  readonly document: DocumentClient;
  readonly search: SearchClient;
  readonly job: JobClient;
  readonly inbox: InboxClient;
  readonly inventory: InventoryClient;
  readonly plan: PlanClient;
  readonly review: ReviewClient;
  readonly webhook: WebhookClient;
  readonly brake: BrakeClient;
  readonly key: KeyClient;
  readonly session: SessionClient;
  /** The same connections, for another caller. */
  as(caller: {
    actor: string;
    tenants?: readonly string[] | undefined;
    /** Id of their API key: leases are held by it. */
    key?: string | undefined;
  }): Holdfast;
  /** What is plugged in. */
  readonly config: HoldfastConfig;
  /** The pool underneath, for reads of the console and the CLI. */
  readonly db: Db;
  close(): Promise<void>;
}

/** Opens a client. Connects with the first call; needs Postgres only, never Temporal. */
export function connect(options: ConnectOptions = {}): Holdfast {
  const url = options.databaseUrl ?? process.env.DATABASE_URL;
  if (!url) {
    throw new Error(
      'no database: set DATABASE_URL or pass databaseUrl ("holdfast dev" starts one and prints it)',
    );
  }
  if (options.config) assertInventory(options.config);
  const db = openDb({
    url,
    ...(options.schema === undefined ? {} : { schema: options.schema }),
    ...(options.poolSize === undefined ? {} : { size: options.poolSize }),
    name: "holdfast-client",
  });
  return holdfastOver(newContext({ ...options, db }));
}

/** A client over a pool that is open already; closing it closes the pool. */
export function holdfastOver(context: Context): Holdfast {
  const { db } = context;
  return {
    retain: retainClient(context),
    operation: operationClient(context),
    bank: bankClient(context),
    document: documentClient(context),
    search: searchClient(context),
    job: jobClient(context),
    inbox: inboxClient(context),
    inventory: inventoryClient(context),
    plan: planClient(context),
    review: reviewClient(context),
    webhook: webhookClient(context),
    brake: brakeClient(context),
    key: keyClient(context),
    session: sessionClient(context),
    as: (caller) => holdfastOver(newContext({ db, config: context.config, ...caller })),
    config: context.config,
    db,
    close: async () => {
      await jobLogOf(db).end();
      await db.close();
    },
  };
}

export * from "../contracts/errors.ts";
export type * from "../contracts/inbox.ts";
export type * from "../contracts/inventory-settings.ts";
export type * from "../contracts/job.ts";
export type * from "../contracts/operation.ts";
export type * from "../contracts/plan.ts";
export type * from "../contracts/retain.ts";
export type * from "../contracts/review.ts";
export type * from "../contracts/plugins.ts";
export type * from "../contracts/search.ts";
export type * from "../contracts/search-mark.ts";
export type * from "../contracts/reindex.ts";
export type * from "../contracts/webhook.ts";
export {
  defineCollector,
  defineConfig,
  defineProcessor,
  type HoldfastConfig,
  type InventoryConfig,
  type JobsConfig,
} from "../contracts/config.ts";
export { jobsOverHttp, type JobsOverHttpOptions, type PullJobs } from "./jobs-over-http.ts";
export { runPullWorker, type PullWorkerOptions, type PullWorkerReport } from "./pull-worker.ts";
export type { SubmitOptions } from "./accept.ts";
export type {
  BankClient,
  BrakeClient,
  DocumentClient,
  InboxClient,
  InventoryClient,
  JobClient,
  KeyClient,
  OperationClient,
  PlanClient,
  RetainClient,
  ReviewClient,
  SessionClient,
  WebhookClient,
};
