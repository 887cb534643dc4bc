import { z } from "zod";
import { assertSchema } from "../db/migrate.ts";
import { assertReachable, type Db } from "../db/pool.ts";
import { route, type Api } from "./api/route.ts";
import type { ServerDeps } from "./deps.ts";
import type { Metrics } from "./metrics.ts";
import { VERSION } from "../version.ts";

const Check = z.enum(["ok", "failing", "unknown"]);
const Readiness = z
  .object({
    status: z.enum(["ready", "not ready", "stopping"]),
    postgres: Check,
    schema: Check,
    /** Told, not needed: accepting and deciding work without Temporal. */
    temporal: Check,
    why: z.string().optional(),
  })
  .meta({ id: "Readiness" });
type Readiness = z.infer<typeof Readiness>;

const PATIENCE_MS = 2_000;

/** What orchestrators and Prometheus ask; none of it needs a key, none of it names a tenant. */
export function healthRoutes(api: Api, metrics: Metrics): void {
  const open = { action: "open", method: "get", tag: "health" } as const;
  route(
    api,
    {
      ...open,
      path: "/livez",
      id: "livez",
      summary: "The process is alive",
      answer: z.object({ status: z.literal("alive") }),
    },
    () => ({ status: "alive" as const }),
  );
  route(
    api,
    {
      ...open,
      path: "/readyz",
      id: "readyz",
      summary: "The process can do its work: Postgres answers and has this version's schema",
      answer: Readiness,
      also: { 503: { description: "Not ready, or about to stop", schema: Readiness } },
    },
    async ({ c }) => {
      const ready = await readiness(api.deps);
      return c.json(ready, ready.status === "ready" ? 200 : 503);
    },
  );
  route(
    api,
    {
      ...open,
      path: "/version",
      id: "version",
      summary: "Which version this is",
      answer: z.object({ name: z.string(), version: z.string(), node: z.string() }),
    },
    () => ({ name: "holdfast", version: VERSION, node: process.versions.node }),
  );
  route(
    api,
    {
      ...open,
      path: "/metrics",
      id: "metrics",
      summary: "Metrics in the Prometheus text format",
      streams: { mediaType: "text/plain", description: "Prometheus text format" },
    },
    async ({ c }) => {
      const { text, contentType } = await metrics.scrape();
      return c.body(text, 200, { "content-type": contentType });
    },
  );
}

async function readiness({
  holdfast,
  temporalReachable,
  stopping,
}: ServerDeps): Promise<Readiness> {
  const [database, temporal] = await Promise.all([
    checkDatabase(holdfast.db),
    temporalReachable
      ? patiently(temporalReachable()).then(
          (reachable): Readiness["temporal"] => (reachable ? "ok" : "failing"),
          (): Readiness["temporal"] => "failing",
        )
      : ("unknown" as const),
  ]);
  const ready = database.postgres === "ok" && database.schema === "ok";
  return {
    status: stopping?.aborted ? "stopping" : ready ? "ready" : "not ready",
    ...database,
    temporal,
  };
}

async function checkDatabase(db: Db): Promise<Pick<Readiness, "postgres" | "schema" | "why">> {
  try {
    await patiently(assertReachable(db));
  } catch {
    return { postgres: "failing", schema: "unknown", why: "Postgres does not answer" };
  }
  try {
    await patiently(assertSchema(db));
    return { postgres: "ok", schema: "ok" };
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return { postgres: "ok", schema: "failing", why };
  }
}

async function patiently<T>(work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error("no answer in time")), PATIENCE_MS);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
