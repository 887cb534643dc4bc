import { z } from "zod";
import type { ChangeSet, Fields } from "./inventory.ts";

/** What Holdfast asks of an inventory outside of Postgres, and how one is configured. */

const Count = (least: number, most: number) => z.int().min(least).max(most);
const Millis = Count(1, 3_600_000);

const HttpUrl = z.url({ protocol: /^https?$/, error: "must be an http or https URL" });

const Pace = {
  /** Entities of one call, at most. Default 100. */
  batchSize: Count(1, 1_000).default(100),
  /** Calls at once, of all workers together: as many lanes. Default 4. */
  concurrency: Count(1, 16).default(4),
  /** Calls of one worker process that begin in a second. Default 0: no bound. */
  ratePerSecond: z.number().min(0).max(10_000).default(0),
  /** A claim ends so long after its worker was last heard of. Default 60. */
  leaseSeconds: Count(2, 3_600).default(60),
  /** Plans and applies in one call where the rules would apply everything. Default true. */
  combined: z.boolean().default(true),
};

const HttpTargetConfig = z.strictObject({
  /** Under which the calls of the contract lie: `https://netbox.example.com/api/plugins/diode/`. */
  url: HttpUrl,
  auth: z
    .union([
      z.strictObject({
        tokenUrl: HttpUrl,
        clientId: z.string().min(1),
        clientSecret: z.string().min(1),
        scopes: z.array(z.string().min(1)).default(["netbox:read", "netbox:write"]),
      }),
      z.strictObject({ token: z.string().min(1) }),
    ])
    .optional(),
  /** Bound on one call. Default 30,000. */
  requestTimeoutMs: Millis.default(30_000),
  /** How often the default branch is asked for. Default 300,000. */
  branchRefreshMs: Millis.default(300_000),
  /** A call for many that was absent is tried again after this long. Default 600,000. */
  detectAgainMs: Millis.default(600_000),
  ...Pace,
});

const LatencyTargetConfig = z.strictObject({
  /** No inventory at all: what a call of a real one would take. */
  latency: z.strictObject({
    perCallMs: z.number().min(0).max(600_000),
    perEntityMs: z.number().min(0).max(60_000),
  }),
  ...Pace,
});

/** A target as the configuration gives it. */
export const TargetConfig = z.union([HttpTargetConfig, LatencyTargetConfig]);
export type TargetConfig = z.input<typeof TargetConfig>;
export type TargetSettings = z.output<typeof TargetConfig>;
export type HttpTargetSettings = z.output<typeof HttpTargetConfig>;
export type LatencyTargetSettings = z.output<typeof LatencyTargetConfig>;

/** Names of targets stand in queue names and ids. */
export const TargetName = z
  .string()
  .regex(/^[a-z][a-z0-9_]{0,39}$/, "must be snake_case, at most 40 characters");

/** The branch of targets that know no branches: nothing is said of one in a call. */
export const NO_BRANCH = "main";

/** An entity as a target is asked about it. */
export interface TargetEntity {
  /** Comes back with its answer. */
  id: string;
  type: string;
  fields: Fields;
  warnings: readonly string[];
}

/** A plan as shown and approved, with what the target wants to hear again to apply it. */
export interface TargetPlan {
  changeSet: ChangeSet;
  /** Opaque to all but the target that made it. */
  handle: unknown;
}

export interface TargetError {
  /** What the target said, readable. */
  message: string;
  type?: string;
  field?: string;
  /** It refers to something that is not there, and may come. */
  missingReference?: boolean;
  /** Another try may do better: a deadlock, an answer that broke the contract. */
  retry?: boolean;
  /** The target could not be asked: nobody's fault. */
  away?: boolean;
  /** Nobody knows whether it happened. */
  unknown?: boolean;
}

export type PlanAnswer =
  | ({ outcome: "planned" } & TargetPlan)
  | { outcome: "unchanged" }
  | { outcome: "failed"; error: TargetError };

export type ApplyAnswer = { outcome: "applied" } | { outcome: "failed"; error: TargetError };

export type PlanApplyAnswer =
  | { outcome: "applied"; changeSet: ChangeSet }
  | { outcome: "unchanged" }
  /** With a change set: planned, and not applied. */
  | { outcome: "failed"; error: TargetError; changeSet?: ChangeSet };

export interface TargetApply {
  /** The same for every try of one change set. */
  key: string;
  plan: TargetPlan;
}

/**
 * A call that came to nothing as a whole.
 * - `away`: the target cannot be asked now. Nobody's fault, tried again without end.
 * - `refused`: it will not have this call. Fewer entities may find out whose fault that is.
 */
export class TargetFault extends Error {
  override readonly name = "TargetFault";
  readonly kind: "away" | "refused";
  /** False when it is certain that nothing happened. */
  readonly mayHaveHappened: boolean;
  /** The target asked for fewer, or less often. */
  readonly slowDown: boolean;
  /** Milliseconds the target asked to be left alone. */
  readonly retryAfterMs: number | undefined;

  constructor(
    kind: TargetFault["kind"],
    message: string,
    more: {
      mayHaveHappened?: boolean;
      slowDown?: boolean;
      retryAfterMs?: number | undefined;
      cause?: unknown;
    } = {},
  ) {
    super(message, more.cause === undefined ? undefined : { cause: more.cause });
    this.kind = kind;
    this.mayHaveHappened = more.mayHaveHappened ?? true;
    this.slowDown = more.slowDown ?? false;
    this.retryAfterMs = more.retryAfterMs;
  }
}
