import { v7 as uuidv7 } from "uuid";
import { Conflict, InvalidInput, TooLarge } from "../contracts/errors.ts";
import type { Accepted } from "../contracts/operation.ts";
import { REVIEW_LIMITS, ReviewSubmit, type ReviewFilter } from "../contracts/review.ts";
import { findOperationByKey } from "../db/operations.ts";
import { findIds, seenNow } from "../db/review-list.ts";
import { digestOf } from "../domain/digest.ts";
import { statesBefore } from "../domain/inventory-state.ts";
import { accept, type SubmitOptions } from "./accept.ts";
import { assertTenant, defaultTenant, type Context } from "./context.ts";
import { parseInput } from "./input.ts";
import { memorySpool } from "./payload-spool.ts";

/** Decisions about all that a filter finds, as an operation. */

const PAGE = 20_000;
/** Items of one sub-batch. */
const SUB_BATCH = 1_000;
const STATEMENT_MS = 10 * 60_000;

export async function submitReview(
  context: Context,
  given: ReviewSubmit,
  options: SubmitOptions,
): Promise<Accepted> {
  const { act, filter, reason, key } = parseInput(ReviewSubmit, given);
  const { all, tenant: named, ...sieve } = assertNarrowed(filter);
  const tenant = named ?? defaultTenant(context);
  assertTenant(context, tenant);
  const digest = digestOf({ kind: "review", act, filter: { ...sieve, all }, reason, tenant });
  const states = statesBefore(act).filter((state) => sieve.states?.includes(state) ?? true);
  const { upTo, seen } = await seenNow(context.db);
  const unapproved = act === "approve";
  const ids = await idsOf(context, { ...sieve, tenant, states, upTo, unapproved });
  if (ids.length === 0) {
    const before = key === undefined ? undefined : await repeated(context, tenant, key);
    if (!before) {
      throw new Conflict(
        "nothing-to-decide",
        `the filter finds nothing to ${act}: look at the list`,
      );
    }
  }
  const batches = Array.from({ length: Math.ceil(ids.length / SUB_BATCH) }, (_, no) => {
    const from = no * SUB_BATCH + 1;
    const to = Math.min(ids.length, (no + 1) * SUB_BATCH);
    return { from, to, size: to - from + 1 };
  });
  return accept(
    context,
    {
      id: uuidv7(),
      kind: "review",
      tenant,
      scope: sieve.branch ?? "",
      key,
      digest,
      priority: 3,
      bytes: 0,
      input: { act, filter: sieve, seen, ...(reason !== undefined && { reason }) },
      batches,
      items: ids.map((id, no) => ({ key: id, size: 1, batch: Math.floor(no / SUB_BATCH) + 1 })),
    },
    () => memorySpool().slices(),
    options,
    { statementTimeoutMs: STATEMENT_MS, write: async () => undefined },
  );
}

// What was found then need not be found now: the first answer holds.
async function repeated(context: Context, tenant: string, key: string): Promise<boolean> {
  return (await findOperationByKey(context.db, tenant, "review", key)) !== undefined;
}

async function idsOf(context: Context, sieve: Parameters<typeof findIds>[1]): Promise<string[]> {
  const all: string[] = [];
  for (let after: string | undefined = "0"; after !== undefined;) {
    const { ids, next } = await findIds(context.db, sieve, { after, limit: PAGE });
    all.push(...ids);
    if (all.length > REVIEW_LIMITS.items) {
      throw new TooLarge("filter", `finds more than ${REVIEW_LIMITS.items} entities: narrow it`);
    }
    after = next;
  }
  return all;
}

/** @throws InvalidInput for a filter that would find everything and does not say so */
export function assertNarrowed(filter: ReviewFilter): ReviewFilter {
  const { all, tenant: _, states: _states, ...rest } = filter;
  const narrowed = Object.values(rest).some((part) => part !== undefined);
  if (narrowed || all) return filter;
  const message = "narrows nothing: name a type, rule, request, ... or say that all is meant (all)";
  throw new InvalidInput([{ path: "filter", message }]);
}
