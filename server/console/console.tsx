import { Hono } from "hono";
import type { ConsoleDeps, ServerDeps } from "../deps.ts";
import { actRoutes } from "./act-routes.tsx";
import { assetRoutes } from "./assets.ts";
import { bankBody, banksBody } from "./banks.tsx";
import type { Body } from "./body.ts";
import { documentBody } from "./document.tsx";
import { inboxBody } from "./inbox.tsx";
import { requestBody } from "./inbox-request.tsx";
import { inventoryBody } from "./inventory.tsx";
import { objectBody } from "./inventory-object.tsx";
import { deviationBody } from "./deviation.tsx";
import { liftRoutes } from "./lift.tsx";
import { planActs } from "./plan-acts.tsx";
import { planBody, planPulse } from "./plan.tsx";
import { plansBody } from "./plans.tsx";
import { reviewActs } from "./review-acts.tsx";
import { reviewBody } from "./review.tsx";
import { Frame, renderSections, type Visit } from "./frame.tsx";
import { jobBody, jobPulse } from "./job.tsx";
import { jobResultsBody } from "./job-results.tsx";
import { jobsBody } from "./jobs.tsx";
import { liveStream } from "./live.ts";
import { operationBody, operationPulse } from "./operation.tsx";
import { operationsBody } from "./operations.tsx";
import { overviewBody } from "./overview.tsx";
import { searchBody } from "./search.tsx";
import { searchStatusBody } from "./search-status.tsx";
import { signInRoutes } from "./sign-in.tsx";

/**
 * The pages people look at: server-rendered, kept up to date by SSE where there is script. Needs
 * Postgres and nothing else. Mounted at `/`, beside the API.
 */
export function consoleRoutes(deps: ConsoleDeps & Pick<ServerDeps, "stopping">): Hono {
  const app = new Hono();
  const frame = new Frame(deps);
  const page = (path: string, load: Load, pulse?: Pulse) =>
    livePage(app, frame, { path, load, pulse, stopping: deps.stopping });

  app.route("/", assetRoutes());
  app.route("/", signInRoutes(frame));
  page("/", ({ read }) => overviewBody(read));
  page("/operations", ({ read, url }) => operationsBody(read, url));
  page(
    "/operations/:id",
    (visit) => operationBody(visit, deps.settings, visit.c.req.param("id")!),
    ({ c, read }) => operationPulse(read, c.req.param("id")!),
  );
  page("/jobs", ({ read, url }) => jobsBody(read, url));
  page(
    "/jobs/:id",
    (visit) => jobBody(visit, deps.settings, visit.c.req.param("id")!),
    ({ c, read }) => jobPulse(read, c.req.param("id")!),
  );
  page("/search/status", ({ read }) => searchStatusBody(read));
  page("/inbox", inboxBody);
  page("/inbox/requests/:id", requestBody);
  page(
    "/plans/:id",
    (visit) => planBody(visit, deps.settings, visit.c.req.param("id")!),
    ({ c, read }) => planPulse(read, c.req.param("id")!),
  );
  app.route("/", actRoutes(frame));
  app.route("/", liftRoutes(frame));
  app.route("/", reviewActs(frame));
  app.route("/", planActs(frame));
  for (const [path, load] of [
    ["/search", searchBody],
    ["/jobs/:id/results", jobResultsBody],
    ["/review", reviewBody],
    ["/review/:id", (visit: Visit) => deviationBody(visit, visit.c.req.param("id")!)],
    ["/plans", plansBody],
    ["/inventory", inventoryBody],
    ["/inventory/objects/:id", objectBody],
    ["/banks", banksBody],
    ["/banks/:bank", bankBody],
    ["/banks/:bank/documents/:id", documentBody],
  ] as const) {
    app.get(
      path,
      frame.headers,
      frame.visited(async (visit) => frame.show(visit, load(visit))),
    );
  }
  return app;
}

type Load = (visit: Visit) => Promise<Body>;
type Pulse = (visit: Visit) => Promise<string>;

// A page and, one step below it, the stream that keeps it up to date.
function livePage(
  app: Hono,
  frame: Frame,
  page: { path: string; load: Load; pulse?: Pulse | undefined; stopping?: AbortSignal | undefined },
): void {
  const { path, load, pulse, stopping } = page;
  const below = path === "/" ? "/live" : `${path}/live`;
  app.get(
    below,
    frame.headers,
    frame.visited(async (visited) => {
      const visit = { ...visited, url: pageAddress(visited.url) };
      return liveStream(visit.c, {
        read: () => renderSections(visit.read, load(visit)),
        pulse: pulse && (() => pulse(visit)),
        stopping,
        log: frame.deps.log,
      });
    }),
  );
  app.get(
    path,
    frame.headers,
    frame.visited(async (visit) => {
      const { pathname, search } = visit.url;
      const live = `${pathname.replace(/\/$/, "")}/live${search}`;
      return frame.show(visit, load(visit), live);
    }),
  );
}

function pageAddress(live: URL): URL {
  const url = new URL(live);
  url.pathname = url.pathname.replace(/\/live$/, "") || "/";
  return url;
}
