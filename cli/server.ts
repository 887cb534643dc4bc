import type { Command } from "commander";
import { plugins, settings } from "./connection.ts";
import { examples } from "./declare.ts";
import { aborted, interrupted, toItsEnd } from "./interrupt.ts";

export function register(program: Command): void {
  const server = program
    .command("server")
    .description("serve the HTTP API and the console, until Ctrl-C; logs JSON lines");
  examples(
    server,
    "holdfast server",
    "HOLDFAST_HOST=0.0.0.0 HOLDFAST_PORT=8080 holdfast server",
  ).action(() => toItsEnd(run));
}

async function run(): Promise<void> {
  const signal = interrupted();
  const [at, config] = await Promise.all([settings(), plugins()]);
  const { startTracing } = await import("../workers/tracing.ts");
  const tracing = await startTracing("holdfast-server");
  const [{ startServer }, { temporalProbe }] = await Promise.all([
    import("../server/listen.ts"),
    import("../workers/temporal-probe.ts"),
  ]);
  const probe = temporalProbe({ address: at.TEMPORAL_ADDRESS, namespace: at.TEMPORAL_NAMESPACE });
  const server = await startServer({ settings: at, config, temporalReachable: probe.reachable });
  await aborted(signal);
  await server.stop();
  await Promise.all([probe.close(), tracing.stop()]);
}
