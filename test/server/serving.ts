import { pino } from "pino";
import { connect, type Holdfast, type HoldfastConfig } from "../../client/index.ts";
import type { Role } from "../../contracts/roles.ts";
import type { ServerSettings } from "../../server/deps.ts";
import { createServer } from "../../server/server.ts";
import { testDatabase } from "../support/database.ts";

export interface Asked {
  key?: string | undefined;
  headers?: Record<string, string>;
  /** Sent as JSON. */
  json?: unknown;
  /** Sent as it is. */
  body?: string | Uint8Array | ReadableStream<Uint8Array>;
}

export interface Serving extends AsyncDisposable {
  databaseUrl: string;
  holdfast: Holdfast;
  /** A key of this role, for every tenant unless some are named. */
  key(role: Role, tenants?: string[]): Promise<string>;
  ask(method: string, path: string, asked?: Asked): Promise<Response>;
  app: ReturnType<typeof createServer>;
  /** Log lines of level error and above. */
  errors: { msg: string }[];
}

/** A server over a database of its own, asked without a socket. */
export async function serving(
  options: {
    auth?: ServerSettings["auth"];
    config?: HoldfastConfig;
    poolSize?: number;
    /** Of a server that is there already: this one is its replica, and goes before it. */
    database?: string;
  } = {},
): Promise<Serving> {
  const database = options.database ? undefined : await testDatabase();
  const databaseUrl = options.database ?? database!.url;
  const holdfast = connect({
    databaseUrl,
    poolSize: options.poolSize ?? 4,
    ...(options.config ? { config: options.config } : {}),
  });
  const errors: { msg: string }[] = [];
  const log = pino(
    { level: "error" },
    { write: (line: string) => void errors.push(JSON.parse(line) as { msg: string }) },
  );
  const app = createServer({
    holdfast,
    settings: { auth: options.auth ?? "on", namespace: "default" },
    log,
  });
  return {
    databaseUrl,
    holdfast,
    app,
    errors,
    key: async (role, tenants) =>
      (
        await holdfast.key.create({
          name: `${role}${tenants ? ` of ${tenants.join(", ")}` : ""}`,
          role,
          ...(tenants ? { tenants } : {}),
        })
      ).secret,
    ask: async (method, path, { key, headers, json, body } = {}) =>
      app.request(`http://localhost${path}`, {
        method,
        headers: {
          ...(key ? { authorization: `Bearer ${key}` } : {}),
          ...(json === undefined ? {} : { "content-type": "application/json" }),
          ...headers,
        },
        ...(json === undefined ? {} : { body: JSON.stringify(json) }),
        ...(body === undefined ? {} : { body, duplex: "half" }),
      }),
    [Symbol.asyncDispose]: async () => {
      // A test may have closed it, to see the server without.
      await holdfast.close().catch(() => undefined);
      await database?.drop();
    },
  };
}

export interface ProblemBody {
  type: string;
  title: string;
  status: number;
  detail: string;
  code: string;
  instance: string;
  issues?: { path: string; message: string }[];
  details?: Record<string, unknown>;
}

/** The problem in an answer, which must be one. */
export async function problemOf(answer: Response): Promise<ProblemBody> {
  const type = answer.headers.get("content-type");
  const text = await answer.text();
  if (type !== "application/problem+json") {
    throw new Error(`${answer.status} ${type} is no problem: ${text.slice(0, 300)}`);
  }
  return JSON.parse(text) as ProblemBody;
}
