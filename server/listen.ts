import { setMaxListeners } from "node:events";
import type { Server } from "node:http";
import { serve } from "@hono/node-server";
import { pino, type Logger } from "pino";
import { connect } from "../client/index.ts";
import type { Settings } from "../config.ts";
import type { HoldfastConfig } from "../contracts/config.ts";
import { InvalidInput } from "../contracts/errors.ts";
import { createServer } from "./server.ts";

export interface RunningServer {
  /** Where it listens, with the port it got. */
  url: string;
  port: number;
  /** Stops accepting, lets requests finish for up to 10 s, then closes everything. Once. */
  stop(): Promise<void>;
}

export interface ServerOptions {
  settings: Settings;
  config?: HoldfastConfig | undefined;
  log?: Logger | undefined;
  /** Asked by `/readyz`; absent: not told. */
  temporalReachable?: (() => Promise<boolean>) | undefined;
}

const DRAIN_MS = 10_000;
/** The longest an upload may take. */
const REQUEST_MS = 15 * 60_000;

/**
 * Listens for HTTP on HOLDFAST_HOST and HOLDFAST_PORT (0: any free one). Needs Postgres with the
 * first request, not before, and Temporal never.
 * @throws InvalidInput when the address cannot be had
 */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const { settings, config, temporalReachable } = options;
  const log = options.log ?? pino({ name: "server", level: settings.HOLDFAST_LOG });
  const holdfast = connect({
    databaseUrl: settings.DATABASE_URL,
    schema: settings.HOLDFAST_SCHEMA,
    poolSize: settings.HOLDFAST_POOL,
    ...(config ? { config } : {}),
  });
  const stopping = new AbortController();
  // Everybody who waits listens to it.
  setMaxListeners(0, stopping.signal);
  const app = createServer({
    holdfast,
    settings: {
      auth: settings.HOLDFAST_AUTH,
      namespace: settings.TEMPORAL_NAMESPACE,
      temporalUiUrl: settings.TEMPORAL_UI_URL,
    },
    log,
    temporalReachable,
    stopping: stopping.signal,
  });
  const { server, port } = await listening(app.fetch, settings).catch(async (error: unknown) => {
    await holdfast.close();
    throw error;
  });
  const host = settings.HOLDFAST_HOST.includes(":")
    ? `[${settings.HOLDFAST_HOST}]`
    : settings.HOLDFAST_HOST;
  const url = `http://${host}:${port}`;
  log.info({ url, auth: settings.HOLDFAST_AUTH }, `listening on ${url}`);

  let stopped: Promise<void> | undefined;
  const stop = async () => {
    stopping.abort();
    await closed(server);
    await holdfast.close();
    log.info("stopped");
  };
  return { url, port, stop: () => (stopped ??= stop()) };
}

function listening(
  fetch: Parameters<typeof serve>[0]["fetch"],
  { HOLDFAST_HOST, HOLDFAST_PORT }: Settings,
): Promise<{ server: Server; port: number }> {
  return new Promise((resolve, reject) => {
    const server = serve(
      {
        fetch,
        hostname: HOLDFAST_HOST,
        port: HOLDFAST_PORT,
        // Other code of this process may use the platform's own Request and Response.
        overrideGlobalObjects: false,
        serverOptions: { requestTimeout: REQUEST_MS },
      },
      ({ port }) => resolve({ server, port }),
    ) as Server;
    server.once("error", (error: NodeJS.ErrnoException) => {
      reject(
        error.code === "EADDRINUSE"
          ? new InvalidInput([
              {
                path: "HOLDFAST_PORT",
                message: `${HOLDFAST_PORT} is taken on ${HOLDFAST_HOST}: set another, or 0 for any`,
              },
            ])
          : new InvalidInput([
              { path: "HOLDFAST_HOST", message: `cannot listen there (${error.message})` },
            ]),
      );
    });
  });
}

async function closed(server: Server): Promise<void> {
  const done = new Promise<void>((resolve) => server.close(() => resolve()));
  // A connection that becomes idle from now on would otherwise be kept for the next request.
  const sweep = setInterval(() => server.closeIdleConnections(), 50);
  const late = setTimeout(() => server.closeAllConnections(), DRAIN_MS);
  await done;
  clearInterval(sweep);
  clearTimeout(late);
}
