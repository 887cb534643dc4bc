import { z } from "zod";
import { OUTCOMES } from "../../contracts/operation.ts";
import { parseInput } from "../../client/input.ts";

const cursor = z.string().regex(/^\d{1,15}$/, "must be the cursor of a link on this page");

const OperationQuery = z.object({
  outcome: z.enum([...OUTCOMES, "open"]).optional(),
  batch: z.coerce.number().int().min(1).max(2_147_483_647).optional(),
  itemsAfter: cursor.optional(),
  childrenAfter: cursor.optional(),
  level: z.enum(["debug", "info", "warn", "error"]).optional(),
  before: cursor.optional(),
  newerThan: cursor.optional(),
});
export type OperationQuery = z.infer<typeof OperationQuery>;

/** What the address asks the page of an operation to show. @throws InvalidInput */
export function operationQuery(url: URL): OperationQuery {
  const given = [...url.searchParams].filter(([, value]) => value !== "");
  return parseInput(OperationQuery, Object.fromEntries(given));
}
