import { NotFound } from "../contracts/errors.ts";
import type { EntityState } from "../contracts/inventory.ts";
import type { Accepted, Page } from "../contracts/operation.ts";
import {
  Decide,
  DeviationFilter,
  EntityId,
  ReviewAct,
  ReviewFilter,
  type Decided,
  type Deviation,
  type DeviationDetail,
  type ReviewSubmit,
} from "../contracts/review.ts";
import { insertAudit } from "../db/audit.ts";
import { decide, judge, wakePlans, wakePlansOf, writeDecisions } from "../db/review.ts";
import { findDeviation, listDeviations, seenNow } from "../db/review-list.ts";
import type { SubmitOptions } from "./accept.ts";
import { asking, assertTenant, defaultTenant, maySee, type Context } from "./context.ts";
import { parseInput } from "./input.ts";
import { assertNarrowed, submitReview } from "./review-submit.ts";

/** Entities with their plans, and decisions of people about them. Works while Temporal is down. */
export interface ReviewClient {
  /**
   * Newest first unless `order` says otherwise, 50 a page unless `limit` (1 to 200) does. Without
   * `states`: what waits for somebody. A page may hold less than its limit and yet have a `next`.
   */
  list(filter?: DeviationFilter): Promise<Page<Deviation>>;
  /** @throws NotFound */
  get(id: string): Promise<DeviationDetail>;
  /** Up to 1,000 entities by id, in one transaction; says of each that stays as it is why. */
  decide(decision: Decide): Promise<Decided>;
  /**
   * All that a filter finds now, page by page, each in a transaction of its own: safe to repeat. What
   * is planned again meanwhile is passed over. @throws InvalidInput for a filter that narrows nothing, unless it says `all`
   */
  decideAll(
    act: ReviewAct,
    filter: ReviewFilter,
    options?: { reason?: string; signal?: AbortSignal },
  ): Promise<{ decided: number }>;
  /** The same as an operation, whose items are what the filter finds now. */
  submit(review: ReviewSubmit, options?: SubmitOptions): Promise<Accepted>;
}

/** What a list shows when nothing is said of states. */
const WAITING: readonly EntityState[] = ["open", "failed", "errored"];
/** Entities decided in one transaction. */
const PAGE = 5_000;

export function reviewClient(context: Context): ReviewClient {
  const { db, actor } = context;
  return {
    list: (filter = {}) =>
      asking(async () => {
        const { order, after, limit, ...rest } = parseInput(DeviationFilter, filter);
        const tenant = tenantOf(context, rest.tenant);
        const sieve = { ...rest, tenant, states: rest.states ?? WAITING };
        return listDeviations(db, sieve, { after, limit, newest: order === "newest" });
      }),
    get: (id) =>
      asking(async () => {
        parseInput(EntityId, id, "id");
        const found = await findDeviation(db, id);
        if (!found || !maySee(context, found.tenant)) {
          throw new NotFound("entity", id, 'list them with "holdfast review list"');
        }
        return found;
      }),
    decide: (given) => asking(() => decideNamed(context, given)),
    decideAll: (act, filter, { reason, signal } = {}) =>
      asking(async () => {
        const asked = assertNarrowed(parseInput(ReviewFilter, filter, "filter"));
        const why = parseInput(Decide.shape.reason, reason, "reason");
        parseInput(ReviewAct, act, "act");
        const { all: _, tenant: named, ...sieve } = asked;
        const tenant = tenantOf(context, named);
        const whole = { ...sieve, tenant, ...(await seenNow(db)) };
        let total = 0;
        for (let after: string | undefined = "0"; after !== undefined;) {
          signal?.throwIfAborted();
          const page = { after, limit: PAGE };
          const { decided, next } = await db.transaction(async (tx) => {
            await wakePlansOf(tx, { ...sieve, tenant, act });
            const done = await decide(tx, whole, { act, by: actor, reason: why }, page);
            if (done.decided === 0) return done;
            await insertAudit(tx, {
              actor,
              action: `review.${act}`,
              tenant,
              subject: `review/${tenant}`,
              after: { filter: sieve, ...page, decided: done.decided, reason: why },
            });
            return done;
          });
          total += decided;
          after = next;
        }
        return { decided: total };
      }),
    submit: (review, options = {}) => asking(() => submitReview(context, review, options)),
  };
}

function tenantOf(context: Context, named: string | undefined): string {
  const tenant = named ?? defaultTenant(context);
  assertTenant(context, tenant);
  return tenant;
}

async function decideNamed(context: Context, given: Decide): Promise<Decided> {
  const { act, tenant: named, ids, planHashes, reason } = parseInput(Decide, given);
  const { db, actor } = context;
  const tenant = tenantOf(context, named);
  return db.transaction(async (tx) => {
    await wakePlans(tx, tenant, ids);
    const asked = ids.map((id, no) => ({ id, seen: planHashes?.[no] }));
    const judged = await judge(tx, tenant, act, asked);
    const free = judged.flatMap(({ id, refused }) => (refused === undefined ? id : []));
    await writeDecisions(tx, free, { act, by: actor, reason });
    if (free.length > 0) {
      await insertAudit(tx, {
        actor,
        action: `review.${act}`,
        tenant,
        subject: `review/${tenant}`,
        after: { ids: free, decided: free.length, reason },
      });
    }
    const refused = judged.flatMap(({ id, refused: why }) =>
      why === undefined ? [] : { id, why },
    );
    return { decided: free.length, refused };
  });
}
