import { NotFound } from "../contracts/errors.ts";
import { OperationId } from "../contracts/operation.ts";
import { findJobOperation, type JobOperationRow } from "../db/job-views.ts";
import { maySee, type Context } from "./context.ts";
import { parseInput } from "./input.ts";

/** A job that the caller may see. @throws InvalidInput, NotFound */
export async function visibleJob(context: Context, id: string): Promise<JobOperationRow> {
  parseInput(OperationId, id, "id");
  const row = await findJobOperation(context.db, id);
  if (!row || !maySee(context, row.tenant)) throw unknownJob(id);
  return row;
}

export function unknownJob(id: string): NotFound {
  return new NotFound("job", id, 'list them with "holdfast job list"');
}
