import { z } from "zod";
import {
  DEFAULT_TENANT,
  IdempotencyKey,
  Instant,
  OperationId,
  OUTCOMES,
  SHOWN_STATES,
  State,
  storable,
  Tenant,
} from "./operation.ts";
import { isBlank } from "./text.ts";

/** Jobs: operations whose items are worked by pull workers. */

/** Limits of one request. Stated to callers in every refusal; see docs/guarantees.md. */
export const JOB_LIMITS = {
  items: 1_000_000,
  /** UTF-8 bytes of all payloads and references of one job, and of all its keys. */
  payloadBytes: 1024 ** 3,
  keyBytes: 128 * 1024 ** 2,
  /** UTF-8 bytes of a payload or a result as JSON; larger ones go by reference. */
  inlineBytes: 16_384,
  /** Bytes of one line of an upload: an item with a payload that is escaped throughout. */
  lineBytes: 65_536,
  /** Arrays and objects inside each other, in a payload or a result. */
  depth: 100,
  claimedBatches: 100,
  /** UTF-8 bytes of the payloads of one claim; one batch is handed out whole, however large. */
  claimedBytes: 16 * 1024 ** 2,
  waitSeconds: 60,
  results: 1_000,
  counts: 16,
  /** The greatest value of one count of one result. */
  count: 1_000_000,
  /** Names of counts that one job sums. */
  sums: 100,
  pipelines: 100,
  leaseSeconds: 86_400,
  heartbeatSeconds: 60,
  /** Batches that one worker may hold, unless the installation says otherwise. */
  heldBatches: 2,
  /** Workers of one key that are at work at the same time. */
  workersOfKey: 1_000,
  /** Log lines of the two-field form: as a rule, and at most. */
  logLines: 1_000,
  mostLogLines: 5_000,
} as const;

const bytes = (text: string) => new TextEncoder().encode(text).length;

const shortText = (max: number) =>
  z
    .string()
    .refine((text) => !isBlank(text), "must not be blank")
    .refine((text) => text.length * 3 <= max || bytes(text) <= max, `must be at most ${max} bytes`)
    .superRefine(storable);

// The schema of any JSON has no end; this is what descriptions of it say.
const ANY_JSON = { type: ["object", "array", "string", "number", "boolean", "null"] };
const Json = z.json().meta(ANY_JSON);
type Json = z.infer<typeof Json>;

/** JSON small enough to stand in a row. Postgres refuses NUL and half a surrogate pair in it. */
const inlineJson = (what: string) =>
  z
    .custom<Json>(isShallow, `must be nested at most ${JOB_LIMITS.depth} deep`)
    .pipe(
      Json.superRefine((value, context) => {
        const text = JSON.stringify(value);
        const size = text.length * 3 <= JOB_LIMITS.inlineBytes ? 0 : bytes(text);
        if (size > JOB_LIMITS.inlineBytes) {
          const message = `must be at most ${JOB_LIMITS.inlineBytes} bytes as JSON; send a reference to a larger ${what}`;
          context.addIssue({ code: "custom", message });
        } else if (/\\u(?:0000|d[89a-f])/i.test(text))
          eachText(value, (part) => storable(part, context));
      }),
    )
    .meta(ANY_JSON);

// Asked before anything goes down into the value: a stack has an end, and a body may be one long `[`.
function isShallow(value: unknown): boolean {
  let level = [value];
  for (let depth = 0; level.length > 0; depth++) {
    const below: unknown[] = [];
    for (const each of level) {
      if (typeof each !== "object" || each === null) continue;
      if (depth === JOB_LIMITS.depth) return false;
      for (const inner of Object.values(each)) below.push(inner);
    }
    level = below;
  }
  return true;
}

function eachText(value: unknown, see: (text: string) => void): void {
  if (typeof value === "string") see(value);
  else if (value !== null && typeof value === "object") {
    for (const [name, inner] of Object.entries(value)) {
      see(name);
      eachText(inner, see);
    }
  }
}

/** What workers ask for: letters, digits, `.`, `_`, `-`, `/`, `:`; 1 to 100 characters. */
export const Pipeline = z
  .string()
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9._:/-]{0,99}$/,
    "must be 1 to 100 of A-Z a-z 0-9 . _ : / -, first a letter or digit",
  );

/** The name that a worker gives itself; with its key it is who holds a lease. */
export const WorkerName = z
  .string()
  .regex(/^[\x21-\x7e](?:[\x20-\x7e]{0,98}[\x21-\x7e])?$/, "must be 1 to 100 printable characters");

/** Where a payload or a result is kept. */
const Reference = shortText(2_000);

export const JobItem = z
  .object({
    /** What the item is about, for lists and logs. */
    key: z.string().max(1_000).superRefine(storable).optional(),
    payload: inlineJson("payload").optional(),
    reference: Reference.optional(),
  })
  .strict();
export type JobItem = z.infer<typeof JobItem>;

export const JobOptions = z
  .object({
    /** 1 (first) to 5; multiplies the weight, and is never strict. */
    priority: z.number().int().min(1).max(5).default(3),
    /** Share of what is handed out, against other jobs of its pipeline. */
    weight: z.number().int().min(1).max(100).default(1),
    /** Items in one batch. */
    batchSize: z.number().int().min(1).max(1_000).default(24),
    leaseSeconds: z.number().int().min(1).max(JOB_LIMITS.leaseSeconds).default(300),
    /** A worker that extends its leases is lost when it has not done so for this long. */
    heartbeatSeconds: z
      .number()
      .int()
      .min(1)
      .max(JOB_LIMITS.leaseSeconds)
      .default(JOB_LIMITS.heartbeatSeconds),
    /** Times a batch is handed out before what is open of it is lost. */
    deliveries: z.number().int().min(1).max(100).default(2),
    /** The job fails when more than this share of its items failed or was lost. */
    maxFailedShare: z.number().min(0).max(1).default(0.5),
    /** Hands items out in a random order. */
    shuffle: z.boolean().default(false),
    /** Takes only so many items. */
    limit: z.number().int().min(1).max(JOB_LIMITS.items).optional(),
    startAfter: Instant.optional(),
  })
  .strict();
export type JobOptions = z.infer<typeof JobOptions>;

/** Everything about a job but its items: what an NDJSON upload sends beside the lines. */
export const JobHeader = z
  .object({
    tenant: Tenant.default(DEFAULT_TENANT),
    pipeline: Pipeline,
    key: IdempotencyKey.optional(),
    options: JobOptions.prefault({}),
  })
  .strict();
export type JobHeader = z.infer<typeof JobHeader>;
export type JobHeaderInput = z.input<typeof JobHeader>;

/** Items come with it, or from a collector; none at all is a job that completes at once. */
export const JobSubmit = JobHeader.extend({
  items: z
    .array(JobItem)
    .max(JOB_LIMITS.items, `must hold at most ${JOB_LIMITS.items} items; split the job`)
    .optional(),
  collector: shortText(100).optional(),
  /** What the collector is given. */
  collect: inlineJson("collector's input").optional(),
})
  .strict()
  .superRefine((job, context) => {
    if ((job.items === undefined) === (job.collector === undefined)) {
      const message = "send either `items` or the name of a `collector`";
      context.addIssue({ code: "custom", path: ["items"], message });
    }
  });
export type JobSubmit = z.input<typeof JobSubmit>;

/** What stands in the operation's row. */
export const JobInput = z.object({
  pipeline: z.string(),
  collector: z.string().optional(),
  collect: Json.optional(),
});
export type JobInput = z.infer<typeof JobInput>;

/**
 * Which items run again: `unfinished` (failed, lost, cancelled), `failed` (failed or lost), `remaining`
 * (cancelled, never worked), or `all`, whatever came of them.
 */
export const RUN_AGAIN = ["unfinished", "failed", "remaining", "all"] as const;
export const RunAgain = z.object({ items: z.enum(RUN_AGAIN).default("unfinished") }).strict();
export type RunAgain = z.input<typeof RunAgain>;

export const ClaimRequest = z
  .object({
    pipelines: z.array(Pipeline).min(1, "must name a pipeline").max(JOB_LIMITS.pipelines),
    /** Batches. */
    limit: z.number().int().min(1).max(JOB_LIMITS.claimedBatches).default(1),
    /** How long to wait for work when there is none. */
    waitSeconds: z.number().min(0).max(JOB_LIMITS.waitSeconds).default(0),
    worker: WorkerName,
    /** The worker promises to extend from the start; absent, it does when it first extends. */
    heartbeat: z.boolean().default(false),
  })
  .strict();
export type ClaimRequest = z.input<typeof ClaimRequest>;

/** What a lease is known by, to its holder alone. */
export const Handle = z.string().regex(/^[A-Za-z0-9_-]{59}$/, "must be a handle as claimed");

export const ClaimedItem = z.object({
  item: z.number().int(),
  key: z.string(),
  payload: Json.optional(),
  reference: z.string().optional(),
});
export type ClaimedItem = z.infer<typeof ClaimedItem>;

export const ClaimedBatch = z.object({
  handle: z.string(),
  job: z.string(),
  tenant: z.string(),
  pipeline: z.string(),
  generation: z.number().int(),
  batch: z.number().int(),
  /** 1 for the first time it is handed out. */
  delivery: z.number().int(),
  leasedUntil: z.string(),
  /** Extend this often or more, once begun. */
  heartbeatSeconds: z.number().int(),
  /** What is open of the batch. */
  items: z.array(ClaimedItem),
});
export type ClaimedBatch = z.infer<typeof ClaimedBatch>;

export const Claim = z.object({
  /** Jobs that had work for these pipelines when this was asked. */
  waiting: z.number().int(),
  /** Batches that the worker holds already and may hold, where that is why it is given none. */
  held: z.object({ batches: z.number().int(), most: z.number().int() }).optional(),
  batches: z.array(ClaimedBatch),
});
export type Claim = z.infer<typeof Claim>;

const Handles = z
  .array(Handle)
  .min(1, "must hold at least one handle")
  .max(JOB_LIMITS.claimedBatches);

export const ExtendRequest = z.object({ handles: Handles }).strict();
export type ExtendRequest = z.input<typeof ExtendRequest>;

export const ReleaseRequest = z.object({ handles: Handles }).strict();
export type ReleaseRequest = z.input<typeof ReleaseRequest>;

/** `ended`: the lease is over, was released, or never was: stop, somebody else may have the batch. */
export const ExtendAnswer = z.object({
  handle: z.string(),
  status: z.enum(["extended", "ended"]),
  /** The job was cancelled or has ended: stop, nothing more will count. */
  cancelled: z.boolean(),
  leasedUntil: z.string().nullable(),
});
export type ExtendAnswer = z.infer<typeof ExtendAnswer>;

export const ReleaseAnswer = z.object({
  handle: z.string(),
  status: z.enum(["released", "ended"]),
});
export type ReleaseAnswer = z.infer<typeof ReleaseAnswer>;

const Counts = z
  .record(
    z.string().regex(/^[a-z][a-z0-9_]{0,39}$/, "must be 1 to 40 of a-z 0-9 _, first a letter"),
    z.number().int().min(0).max(JOB_LIMITS.count),
  )
  .refine(
    (counts) => Object.keys(counts).length <= JOB_LIMITS.counts,
    `must hold at most ${JOB_LIMITS.counts} counts`,
  );

/** What came of one item: a result, a reference to one, or an error. */
export const PostedResult = z
  .object({
    handle: Handle,
    /** Absent with an error: of all that is open of the batch and not named in this post. */
    item: z.number().int().min(1).max(2_147_483_647).optional(),
    result: inlineJson("result").optional(),
    reference: Reference.optional(),
    error: shortText(2_000).optional(),
    counts: Counts.optional(),
  })
  .strict()
  .superRefine((posted, context) => {
    const issue = (path: string, message: string) =>
      context.addIssue({ code: "custom", path: [path], message });
    const said = [posted.result, posted.reference, posted.error].filter((it) => it !== undefined);
    if (said.length !== 1) issue("result", "send one of `result`, `reference` and `error`");
    if (posted.error === undefined && posted.item === undefined) {
      issue("item", "must name the item; only an error may leave it out");
    }
    if (posted.error !== undefined && posted.counts !== undefined) {
      issue("counts", "go with a result, not with an error");
    }
  });
export type PostedResult = z.infer<typeof PostedResult>;

export const PostRequest = z
  .object({
    results: z
      .array(PostedResult)
      .min(1, "must hold at least one result")
      .max(JOB_LIMITS.results, `must hold at most ${JOB_LIMITS.results} results; split the post`),
    /** A post repeated with its key is told what the first was told; other results are refused. */
    key: IdempotencyKey.optional(),
  })
  .strict();
export type PostRequest = z.input<typeof PostRequest>;

/**
 * `accepted`: it counts. `duplicate`: the item has its result. `late`: the item was lost or cancelled,
 * or is of an older generation; kept, and changes nothing. `unknown`: no handle of this caller for
 * this job, or not an item of its batch.
 */
export const POST_STATUSES = ["accepted", "duplicate", "late", "unknown"] as const;
export const PostAnswer = z.object({
  /** In the order of the results. */
  results: z.array(
    z.object({
      item: z.number().int().nullable(),
      status: z.enum(POST_STATUSES),
      /** Items it was about, when it named none. */
      items: z.number().int().optional(),
    }),
  ),
  accepted: z.number().int(),
  duplicate: z.number().int(),
  late: z.number().int(),
  unknown: z.number().int(),
});
export type PostAnswer = z.infer<typeof PostAnswer>;

export const JobResult = z.object({
  item: z.number().int(),
  key: z.string(),
  generation: z.number().int(),
  result: Json.optional(),
  reference: z.string().optional(),
  error: z.string().optional(),
  counts: z.record(z.string(), z.number().int()).optional(),
  worker: z.string(),
  at: z.string(),
});
export type JobResult = z.infer<typeof JobResult>;

/** A result that counts for nothing, and why: the outcome that stood, `older generation`, `ended`. */
export const LateResult = JobResult.extend({ lease: z.number().int(), why: z.string() });
export type LateResult = z.infer<typeof LateResult>;

export const ResultsFilter = z
  .object({
    /** The `next` of the page before. */
    after: z
      .string()
      .regex(/^\d{1,18}$/, "must be the `next` of the page before")
      .optional(),
    limit: z.coerce.number().int().min(1).max(JOB_LIMITS.results).default(200),
    /** True: errors only; false: results only. */
    errors: z.boolean().optional(),
  })
  .strict();
export type ResultsFilter = z.input<typeof ResultsFilter>;

export const LateResultsFilter = ResultsFilter.omit({ errors: true }).extend({
  after: z
    .string()
    .regex(/^\d{1,9}\.\d{1,9}\.\d{1,9}$/, "must be the `next` of the page before")
    .optional(),
});
export type LateResultsFilter = z.input<typeof LateResultsFilter>;

export const LogTextFilter = z
  .object({
    limit: z.coerce.number().int().min(1).max(JOB_LIMITS.mostLogLines).default(JOB_LIMITS.logLines),
  })
  .strict();
export type LogTextFilter = z.input<typeof LogTextFilter>;

/** Newest first: every line with its time and level; errors as they were written. */
export const LogText = z.object({ stdout: z.string(), stderr: z.string() });
export type LogText = z.infer<typeof LogText>;

/** `value` is "" as long as it is not known. */
export const JobStageParam = z.object({
  name: z.string(),
  key: z.string(),
  category: z.string(),
  value: z.union([z.string(), z.number()]),
});

export const JobStage = z.object({
  key: z.string(),
  name: z.string(),
  status: State,
  /** 0 to 1; 1 only when all of it is done. */
  progress: z.number(),
  params: z.array(JobStageParam),
});
export type JobStage = z.infer<typeof JobStage>;

/** The shape that readers of job progress know. */
export const JobProgress = z.object({
  summary: z.object({ status: State, progress: z.number(), status_label: z.string() }),
  stages: z.array(JobStage),
  /** Bounded; the lists of items hold them all. */
  errors: z.array(z.string()),
  logs: z.array(z.string()),
});
export type JobProgress = z.infer<typeof JobProgress>;

/** Why nothing seems to go on. Only `stuck` may end a job. */
export const HOLDUPS = [
  "collecting",
  "no workers online",
  "workers idle",
  "result backlog",
  "stuck",
] as const;
export const Holdup = z.object({ kind: z.enum(HOLDUPS), text: z.string() });
export type Holdup = z.infer<typeof Holdup>;

/** One job as SDK, HTTP, CLI and console show it. */
export const JobView = z.object({
  id: z.string(),
  tenant: z.string(),
  pipeline: z.string(),
  key: z.string().nullable(),
  state: State,
  shown: z.enum(SHOWN_STATES),
  /** The verdict in words: `completed with 3 errors`. */
  outcome: z.string(),
  generation: z.number().int(),
  total: z.number().int(),
  counts: z.partialRecord(z.enum(OUTCOMES), z.number().int()),
  progress: JobProgress,
  /** Items a minute, over the last minutes. */
  throughput: z.union([z.number(), z.literal("unknown")]),
  /** Seconds to the end at that speed. */
  eta: z.union([z.number().int(), z.literal("unknown")]),
  /**
   * Counted up to 10,000 of each; 100 in a list. Where more are ready, it is the open items that nobody
   * holds, by the size of a batch. `done`: the others that it was cut into.
   */
  batches: z.object({ ready: z.number(), leased: z.number(), done: z.number() }),
  leases: z.object({
    deliveries: z.number(),
    redeliveries: z.number(),
    expiries: z.number(),
    releases: z.number(),
    duplicates: z.number(),
    late: z.number(),
  }),
  workersOnline: z.number().int(),
  holdup: Holdup.nullable(),
  reason: z.string().nullable(),
  acceptedAt: z.string(),
  startedAt: z.string().nullable(),
  finishedAt: z.string().nullable(),
});
export type JobView = z.infer<typeof JobView>;

export const JobFilter = z
  .object({
    pipeline: Pipeline.optional(),
    tenant: Tenant.optional(),
    state: z.union([State, z.literal("open")]).optional(),
    limit: z.coerce.number().int().min(1).max(200).default(50),
    after: OperationId.optional(),
  })
  .strict();
export type JobFilter = z.input<typeof JobFilter>;

/** Who pulls: a key and the name its worker gave itself. */
export const PullWorkerView = z.object({
  /** Null: of a key that serves tenants as well that the caller may not see. */
  key: z.string().nullable(),
  worker: z.string(),
  /** Null: every tenant. Those that the caller may see. */
  tenants: z.array(z.string()).nullable(),
  /** What it asks for; of such a key, the pipelines that have a job the caller may see. */
  pipelines: z.array(z.string()),
  /** Seen within the last 60 s. */
  online: z.boolean(),
  /** Batches it holds, of jobs that the caller may see. */
  held: z.number().int(),
  firstSeenAt: z.string(),
  seenAt: z.string(),
});
export type PullWorkerView = z.infer<typeof PullWorkerView>;

/** What may be claimed of one pipeline now, by tenant. */
export const PipelineView = z.object({
  pipeline: z.string(),
  tenant: z.string(),
  jobs: z.number().int(),
  /** Batches that may be claimed; of one job at most 10,000 are counted. */
  ready: z.number().int(),
  /** How long the oldest of those counted has waited. */
  oldestSeconds: z.number(),
  workersOnline: z.number().int(),
});
export type PipelineView = z.infer<typeof PipelineView>;
