import type { OpenAPIHono } from "@hono/zod-openapi";
import type { Context } from "hono";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import { z } from "zod";
import { parseInput } from "../../client/input.ts";
import type { Holdfast } from "../../client/index.ts";
import type { Action } from "../../contracts/roles.ts";
import { assertMay, bearer, type Doorkeeper, type Principal } from "../auth.ts";
import type { ServerDeps } from "../deps.ts";
import type { Metrics } from "../metrics.ts";
import { Problem } from "../problem.ts";

/** What the routes are declared on. */
export interface Api {
  app: OpenAPIHono;
  deps: ServerDeps;
  metrics: Metrics;
  doorkeeper: Doorkeeper;
}

/** A request that may be served: who asks, through which client, and what, parsed. */
export interface Call<Params, Query> {
  c: Context;
  principal: Principal;
  /** Who the key belongs to by now, for what takes long. @throws Unauthorized, Forbidden */
  again(): Promise<Principal>;
  /** Acts as the principal, in the tenants of the principal. */
  holdfast: Holdfast;
  params: Params;
  query: Query;
}

type Shape = z.ZodObject;
const Nothing = z.strictObject({});

interface Declared<Params extends Shape, Query extends Shape, Answer extends z.ZodType> {
  /** Who may: the one table in contracts/roles.ts. `open` needs no key. */
  action: Action | "open";
  method: "get" | "post" | "delete" | "put";
  /** `{name}` for a parameter. */
  path: `/${string}`;
  /** Name for generated clients. */
  id: string;
  tag: string;
  summary: string;
  description?: string;
  params?: Params;
  query?: Query;
  /** For readers of the document, as is `body`: what is sent is parsed where it is used, once. */
  headers?: Shape;
  body?: { required?: boolean; content: Record<string, { schema: z.ZodType }> };
  /** Absent: answers as `streams` only. */
  answer?: Answer;
  /** Default 200. */
  status?: 200 | 201 | 202;
  /** Further ways to answer; without a schema, a problem. */
  also?: Record<number, { description: string; schema?: z.ZodType }>;
  /** Answers in another media type as well. */
  streams?: { mediaType: string; description: string };
}

/**
 * One route, declared once: what it is called, who may, what goes in and what comes out. Serves it
 * and writes it into the OpenAPI document, so that neither can be without the other.
 */
export function route<
  Params extends Shape,
  Query extends Shape,
  Answer extends z.ZodType = z.ZodNever,
>(
  api: Api,
  declared: Declared<Params, Query, Answer>,
  serve: (
    call: Call<z.output<Params>, z.output<Query>>,
  ) => Promise<z.input<Answer> | Response> | z.input<Answer> | Response,
): void {
  describe(api.app, declared);
  const path = declared.path.replaceAll(/\{(\w+)\}/g, ":$1");
  api.app.on(declared.method, [path], async (c) => {
    const principal = await admitted(api, c, declared.action);
    const params = parseInput(declared.params ?? Nothing, c.req.param(), "path");
    const query = parseInput(declared.query ?? Nothing, queryOf(c), "query");
    const answer = await serve({
      c,
      principal,
      again: () => admitted(api, c, declared.action),
      holdfast: api.deps.holdfast.as({
        actor: principal.name,
        tenants: principal.tenants,
        key: principal.key,
      }),
      params: params as z.output<Params>,
      query: query as z.output<Query>,
    });
    if (answer instanceof Response) return answer;
    return c.json(answer as object, (declared.status ?? 200) as ContentfulStatusCode);
  });
}

const NOBODY: Principal = { name: "anybody", role: "viewer", tenants: [] };

async function admitted(api: Api, c: Context, action: Action | "open"): Promise<Principal> {
  if (action === "open") return NOBODY;
  const principal = await api.doorkeeper.identify(bearer(c.req.header("authorization")));
  assertMay(principal, action);
  return principal;
}

/** A parameter given once is a string, given again an array. */
function queryOf(c: Context): Record<string, string | string[]> {
  return Object.fromEntries(
    Object.entries(c.req.queries()).map(([name, values]) => [
      name,
      values.length === 1 ? values[0]! : values,
    ]),
  );
}

function describe(app: OpenAPIHono, declared: Declared<Shape, Shape, z.ZodType>): void {
  const { action, params, query, headers, body, answer, streams } = declared;
  const problem = (description: string) => ({
    description,
    content: { "application/problem+json": { schema: Problem } },
  });
  app.openAPIRegistry.registerPath({
    method: declared.method,
    path: declared.path,
    operationId: declared.id,
    tags: [declared.tag],
    summary: declared.summary,
    ...(declared.description === undefined ? {} : { description: declared.description }),
    "x-action": action,
    security: action === "open" ? [] : [{ key: [] }],
    request: {
      ...(params ? { params } : {}),
      ...(query ? { query } : {}),
      ...(headers ? { headers } : {}),
      ...(body ? { body: { required: body.required ?? true, content: body.content } } : {}),
    },
    responses: {
      [declared.status ?? 200]: {
        description: declared.summary,
        content: {
          ...(answer && { "application/json": { schema: answer } }),
          ...(streams && {
            [streams.mediaType]: { schema: z.string().meta({ description: streams.description }) },
          }),
        },
      },
      ...Object.fromEntries(
        Object.entries(declared.also ?? {}).map(([status, { description, schema }]) => [
          status,
          schema
            ? { description, content: { "application/json": { schema } } }
            : problem(description),
        ]),
      ),
      ...(params || query || body
        ? { 400: problem("The input is wrong; `issues` says where") }
        : {}),
      ...(action === "open"
        ? {}
        : {
            401: problem("No valid key"),
            403: problem("The key's role or tenants do not allow it"),
          }),
      ...(params ? { 404: problem("Not there, or in a tenant this key may not see") } : {}),
      default: problem("Any other refusal; `code` says which"),
    },
  });
}

/** One page of a list. `next` goes into `after` for the page behind it. */
export function pageOf<T extends z.ZodType>(item: T) {
  return z.object({ items: z.array(item), next: z.string().optional() });
}

/** All of a list that has no pages. */
export function listOf<T extends z.ZodType>(item: T) {
  return z.object({ items: z.array(item) });
}
