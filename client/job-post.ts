import {
  ExtendRequest,
  PostRequest,
  ReleaseRequest,
  type ExtendAnswer,
  type PostAnswer,
  type ReleaseAnswer,
} from "../contracts/job.ts";
import { OperationId } from "../contracts/operation.ts";
import { readHandle } from "../db/job-handles.ts";
import { extendLeases, releaseLeases } from "../db/job-leases.ts";
import { postResults } from "../db/job-post.ts";
import { tenantsOfJobs } from "../db/job-views.ts";
import { linesOfPost } from "../domain/job-log.ts";
import { leaseKey, maySee, type Context } from "./context.ts";
import { parseInput } from "./input.ts";
import { jobCounters } from "./job-counters.ts";
import { unknownJob } from "./job-find.ts";
import { livenessOf } from "./job-liveness.ts";
import { jobLogOf } from "./job-log.ts";

/** What holders of leases say: results, signs of life, and what they give back. */

export async function post(
  context: Context,
  id: string,
  request: PostRequest,
): Promise<PostAnswer> {
  const { results, key: repeatKey } = parseInput(PostRequest, request);
  parseInput(OperationId, id, "id");
  const { db, config } = context;
  const key = leaseKey(context);
  const operationId = id.toLowerCase();
  const sees = (tenant: string) => maySee(context, tenant);
  const asked = { operationId, key, repeatKey, sees, results };
  const { answer, settled, closed } = await postResults(db, asked, config.jobs?.onResults);
  if (!answer) throw unknownJob(id);
  if (settled.length === 0 && repeatKey === undefined) jobCounters.postsOfNothing++;
  const handles = [...new Set(results.map((result) => result.handle))];
  livenessOf(db).spoke(handles, key, context.tenants);
  if (config.jobs?.persistLogs !== false) {
    const lines = linesOfPost({ job: operationId, key, answer, settled, closed });
    await jobLogOf(db).write(lines);
  }
  return answer;
}

export async function extend(
  context: Context,
  request: ExtendRequest,
): Promise<{ leases: ExtendAnswer[] }> {
  const { handles } = parseInput(ExtendRequest, request);
  const leases = await ofOwnTenants<ExtendAnswer>(context, handles, extendLeases, (handle) => ({
    handle,
    status: "ended",
    cancelled: false,
    leasedUntil: null,
  }));
  return { leases };
}

export async function release(
  context: Context,
  request: ReleaseRequest,
): Promise<{ leases: ReleaseAnswer[] }> {
  const { handles } = parseInput(ReleaseRequest, request);
  const leases = await ofOwnTenants<ReleaseAnswer>(context, handles, releaseLeases, (handle) => ({
    handle,
    status: "ended",
  }));
  return { leases };
}

/** One answer a handle, in their order. A lease of a tenant out of the caller's scope is none. */
async function ofOwnTenants<T>(
  context: Context,
  handles: readonly string[],
  act: (db: Context["db"], handles: readonly string[], key: string) => Promise<T[]>,
  none: (handle: string) => T,
): Promise<T[]> {
  const key = leaseKey(context);
  const own = await visibleHandles(context, handles, key);
  const answers = own.length === 0 ? [] : await act(context.db, own, key);
  livenessOf(context.db).spoke(own, key, context.tenants);
  const byHandle = new Map(own.map((handle, index) => [handle, answers[index]!]));
  return handles.map((handle) => byHandle.get(handle) ?? none(handle));
}

async function visibleHandles(
  context: Context,
  handles: readonly string[],
  key: string,
): Promise<string[]> {
  const distinct = [...new Set(handles)];
  if (context.tenants === undefined) return distinct;
  const jobOf = (handle: string) => readHandle(handle, key)?.operationId;
  const ids = distinct.flatMap((handle) => jobOf(handle) ?? []);
  const tenants = await tenantsOfJobs(context.db, [...new Set(ids)]);
  return distinct.filter((handle) => {
    const tenant = tenants.get(jobOf(handle) ?? "");
    return tenant !== undefined && maySee(context, tenant);
  });
}
