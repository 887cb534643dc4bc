import { once } from "node:events";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { serve } from "@hono/node-server";
import { pino } from "pino";
import { connect, type Holdfast } from "../../client/index.ts";
import { readSettings } from "../../config.ts";
import type { Role } from "../../contracts/roles.ts";
import { startServer, type RunningServer } from "../../server/listen.ts";
import type { createServer } from "../../server/server.ts";
import { testDatabase } from "../support/database.ts";

export interface Listening extends RunningServer, AsyncDisposable {
  databaseUrl: string;
  holdfast: Holdfast;
  key(role: Role): Promise<string>;
  /** Lines of the log, debug and above. */
  logged: { level: number; msg: string; path?: string; status?: number }[];
}

/** A server on a free port over a database of its own. */
export async function listening(environment: NodeJS.ProcessEnv = {}): Promise<Listening> {
  const database = await testDatabase();
  const logged: Listening["logged"] = [];
  const server = await startServer({
    settings: readSettings({
      DATABASE_URL: database.url,
      HOLDFAST_PORT: "0",
      HOLDFAST_POOL: "4",
      ...environment,
    }),
    log: pino(
      { level: "debug" },
      { write: (line: string) => void logged.push(JSON.parse(line) as never) },
    ),
  });
  const holdfast = connect({ databaseUrl: database.url, poolSize: 2 });
  return {
    ...server,
    databaseUrl: database.url,
    holdfast,
    logged,
    key: async (role) => (await holdfast.key.create({ name: role, role })).secret,
    [Symbol.asyncDispose]: async () => {
      await server.stop();
      await holdfast.close();
      await database.drop();
    },
  };
}

/** What a test has put together itself, on a free port. */
export async function onPort(
  app: Pick<ReturnType<typeof createServer>, "fetch">,
): Promise<{ url: string; port: number } & AsyncDisposable> {
  const server = serve({ fetch: app.fetch, port: 0, overrideGlobalObjects: false }) as Server;
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    [Symbol.asyncDispose]: async () => {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}
