import { OpenAPIHono } from "@hono/zod-openapi";
import { requestId } from "hono/request-id";
import { secureHeaders } from "hono/secure-headers";
import { assertInventory } from "../db/inventory-settings.ts";
import { apiRoutes } from "./api/api.ts";
import { doorkeeper } from "./auth.ts";
import { consoleRoutes } from "./console/console.tsx";
import type { ServerDeps } from "./deps.ts";
import { guardOpenDoor } from "./doors.ts";
import { healthRoutes } from "./health.ts";
import { newMetrics } from "./metrics.ts";
import { notServed } from "./not-served.ts";
import { openApiRoute } from "./openapi.ts";
import { answerProblem } from "./problem.ts";
import { observed } from "./telemetry.ts";

/** Everything one HTTP process serves. Listens to nothing by itself; see listen.ts. */
export function createServer(deps: ServerDeps): OpenAPIHono {
  const { holdfast, settings, log } = deps;
  assertInventory(holdfast.config);
  const app = new OpenAPIHono();
  const metrics = newMetrics(holdfast.db, log);
  const api = { app, deps, metrics, doorkeeper: doorkeeper(holdfast, settings.auth) };

  app.use(requestId());
  app.use(observed(log, metrics));
  // Whether browsers must use https is for whoever terminates TLS to say.
  // Browsers leave the origin out of forms on pages with a stricter referrer policy.
  app.use(
    secureHeaders({
      strictTransportSecurity: false,
      referrerPolicy: "same-origin",
      xFrameOptions: "DENY",
    }),
  );
  app.use("/v1/*", guardOpenDoor(settings.auth));
  app.use("/v1/*", async (c, next) => {
    await next();
    c.header("content-security-policy", "default-src 'none'; frame-ancestors 'none'");
    if (!c.res.headers.has("cache-control")) c.header("cache-control", "no-store");
  });

  apiRoutes(api);
  healthRoutes(api, metrics);
  openApiRoute(app);
  app.route("/", consoleRoutes(deps));

  app.onError((error, c) => answerProblem(error, c, log));
  app.notFound((c) => answerProblem(notServed(app, c), c, log));
  return app;
}
