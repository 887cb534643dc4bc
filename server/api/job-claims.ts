import { isDeepStrictEqual } from "node:util";
import { z } from "zod";
import {
  Claim,
  ClaimRequest,
  ExtendAnswer,
  ExtendRequest,
  JOB_LIMITS,
  ReleaseAnswer,
  ReleaseRequest,
} from "../../contracts/job.ts";
import { jsonObject } from "../body.ts";
import { route, type Api, type Call } from "./route.ts";

/** What pull workers do before they post: take batches, say that they are alive, give back. */
export function jobClaimRoutes(api: Api): void {
  const claiming = { action: "claim", method: "post", tag: "jobs" } as const;
  route(
    api,
    {
      ...claiming,
      path: "/v1/jobs/claim",
      id: "claimBatches",
      summary:
        "Take batches of the jobs that were served least, and wait for some if there are none",
      description: [
        `At most ${JOB_LIMITS.claimedBatches} batches and ${JOB_LIMITS.waitSeconds} s. No batch is answered with 200 and an empty list.`,
        "A worker that hangs up takes nothing: what was found for it may be claimed by others at once.",
        "Does not need Temporal.",
      ].join(" "),
      body: {
        content: { "application/json": { schema: ClaimRequest.meta({ id: "ClaimRequest" }) } },
      },
      answer: Claim.meta({ id: "Claim" }),
    },
    async (call) => {
      const request = (await jsonObject(call.c)) as unknown as ClaimRequest;
      return claim(call, api, request);
    },
  );
  route(
    api,
    {
      ...claiming,
      path: "/v1/jobs/extend",
      id: "extendLeases",
      summary: "Signs of life of leases; each says whether it still stands and whether to stop",
      body: {
        content: { "application/json": { schema: ExtendRequest.meta({ id: "ExtendRequest" }) } },
      },
      answer: z
        .object({ leases: z.array(ExtendAnswer.meta({ id: "ExtendedLease" })) })
        .meta({ id: "ExtendAnswer" }),
    },
    async ({ c, holdfast }) =>
      holdfast.job.extend((await jsonObject(c)) as unknown as ExtendRequest),
  );
  route(
    api,
    {
      ...claiming,
      path: "/v1/jobs/release",
      id: "releaseLeases",
      summary: "Give batches back: they may be claimed at once, and it has cost no delivery",
      body: {
        content: { "application/json": { schema: ReleaseRequest.meta({ id: "ReleaseRequest" }) } },
      },
      answer: z
        .object({ leases: z.array(ReleaseAnswer.meta({ id: "ReleasedLease" })) })
        .meta({ id: "ReleaseAnswer" }),
    },
    async ({ c, holdfast }) =>
      holdfast.job.release((await jsonObject(c)) as unknown as ReleaseRequest),
  );
}

const NOTHING: Claim = { waiting: 0, batches: [] };

async function claim(
  {
    c,
    principal,
    holdfast,
    again,
  }: Pick<Call<unknown, unknown>, "c" | "principal" | "holdfast" | "again">,
  { deps: { stopping, log }, metrics }: Api,
  request: ClaimRequest,
): Promise<Claim> {
  // A key may be revoked while its worker waits. Where only its tenants have changed, it asks again.
  const stillMay = async () => isDeepStrictEqual((await again()).tenants, principal.tenants);
  // Aborts when the connection closes before the whole answer was written.
  const gone = c.req.raw.signal;
  const over = new AbortController();
  const end = () => over.abort();
  let claimed: Claim;
  try {
    // By hand, for the server lives long: what `AbortSignal.any` hangs on it is never taken off.
    for (const signal of [gone, stopping]) {
      if (signal?.aborted) end();
      signal?.addEventListener("abort", end, { once: true });
    }
    claimed = await holdfast.job.claim(request, { signal: over.signal, stillMay });
  } catch (error) {
    if (!over.signal.aborted) throw error;
    return NOTHING;
  } finally {
    for (const signal of [gone, stopping]) signal?.removeEventListener("abort", end);
  }
  const handles = claimed.batches.map(({ handle }) => handle);
  if (handles.length === 0) return claimed;
  const release = () =>
    holdfast.job
      .release({ handles })
      .then(() => undefined)
      .catch((error: unknown) => {
        log.warn({ err: error }, "leases of a worker that hung up stand until they are over");
      });
  if (gone.aborted) {
    await release();
    return NOTHING;
  }
  gone.addEventListener("abort", () => void release(), { once: true });
  metrics.handedOut(claimed.batches);
  return claimed;
}
