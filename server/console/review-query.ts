import { z } from "zod";
import { parseInput } from "../../client/input.ts";
import { InvalidInput } from "../../contracts/errors.ts";
import type { EntityState } from "../../contracts/inventory.ts";
import { REVIEW_STATES, type DeviationFilter, type ReviewFilter } from "../../contracts/review.ts";

const text = z.string().max(200).optional();

const Query = z.object({
  state: z.enum(["waiting", "troubled", ...REVIEW_STATES] as [string, ...string[]]).optional(),
  tenant: text,
  branch: text,
  type: text,
  rule: text,
  request: text,
  operation: text,
  text,
  order: z.enum(["newest", "oldest"]).optional(),
  after: z.string().max(30).optional(),
});
export type ReviewQuery = z.infer<typeof Query>;

export const FILTERS = [
  "state",
  "tenant",
  "branch",
  "type",
  "rule",
  "request",
  "operation",
  "text",
] as const;

/** What the address, or a form, asks the list of deviations to show. @throws InvalidInput */
export function reviewQuery(given: Iterable<readonly [string, string]>): ReviewQuery {
  const known = Object.keys(Query.shape);
  const said = [...given].filter(([name, value]) => value !== "" && known.includes(name));
  return parseInput(Query, Object.fromEntries(said));
}

export function filterOf(query: ReviewQuery): Omit<ReviewFilter, "all"> {
  const { state, type, order: _order, after: _after, ...rest } = query;
  const said = Object.entries(rest).filter(([, value]) => value !== undefined);
  const filter: Omit<ReviewFilter, "all"> = Object.fromEntries(said);
  const states = statesOf(state);
  return { ...filter, ...(states && { states }), ...(type !== undefined && { types: [type] }) };
}

export function listFilter(query: ReviewQuery, limit: number): DeviationFilter {
  const { order, after } = query;
  return { ...filterOf(query), limit, ...(order && { order }), ...(after && { after }) };
}

function statesOf(state: string | undefined): EntityState[] | undefined {
  if (state === undefined || state === "waiting") return undefined;
  return state === "troubled" ? ["failed", "errored"] : [state as EntityState];
}

/** This part of a query as an address has it: the filter, without the page. */
export function filterParams(query: ReviewQuery): URLSearchParams {
  const said = FILTERS.flatMap((name): [string, string][] =>
    query[name] === undefined ? [] : [[name, query[name]]],
  );
  return new URLSearchParams(said);
}

/** What the address asks, or why it cannot be shown. */
export function readQuery(url: URL): ReviewQuery | InvalidInput {
  try {
    return reviewQuery(url.searchParams);
  } catch (error) {
    if (error instanceof InvalidInput) return error;
    throw error;
  }
}
