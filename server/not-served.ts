import type { OpenAPIHono } from "@hono/zod-openapi";
import type { Context } from "hono";
import { HoldfastError } from "../contracts/errors.ts";

/** Why nothing answers here: the path is not known, or not with this method. */
export function notServed(app: OpenAPIHono, c: Context): HoldfastError {
  const { method, path } = c.req;
  const methods = app.routes
    .filter((route) => route.method !== "ALL" && matches(route.path, path))
    .map((route) => route.method);
  if (methods.length === 0) {
    return new HoldfastError(
      "no-such-route",
      404,
      `there is nothing at ${path}: /openapi.json lists every route`,
    );
  }
  const allowed = [
    ...new Set(methods.flatMap((name) => (name === "GET" ? ["GET", "HEAD"] : name))),
  ];
  c.header("allow", allowed.join(", "));
  return new HoldfastError(
    "method-not-allowed",
    405,
    `${path} does not take ${method}: use ${allowed.join(" or ")}`,
  );
}

function matches(pattern: string, path: string): boolean {
  const parts = pattern.split("/");
  const given = path.split("/");
  return (
    parts.length === given.length &&
    parts.every((part, at) => (part.startsWith(":") ? given[at] !== "" : part === given[at]))
  );
}
