import type { OpenAPIHono } from "@hono/zod-openapi";
import { VERSION } from "../version.ts";

/** The description of every route, made of the same schemas that judge what comes in. */
export function openApiRoute(app: OpenAPIHono): void {
  app.openAPIRegistry.registerComponent("securitySchemes", "key", {
    type: "http",
    scheme: "bearer",
    description: 'An API key; "holdfast key create" makes one',
  });
  let document: object | undefined;
  app.get("/openapi.json", (c) => {
    document ??= app.getOpenAPI31Document({
      openapi: "3.1.0",
      info: {
        title: "Holdfast",
        version: VERSION,
        description:
          "Durable bulk operations. Work is accepted with 202 and a Location to follow; refusals are problem+json.",
        license: { name: "MIT" },
      },
      servers: [{ url: "/" }],
    });
    return c.json(document);
  });
}
