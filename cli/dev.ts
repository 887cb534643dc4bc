import type { Command } from "commander";
import type { StackAddresses } from "../dev/stack.ts";
import { STATE_DIR } from "./connection.ts";
import { examples } from "./declare.ts";
import { Ended, EXIT } from "./failure.ts";
import { aborted, interrupted, toItsEnd } from "./interrupt.ts";
import { note, paint, printFields, printJsonLine, say } from "./output.ts";

interface Flags {
  temporary?: boolean;
  state: string;
  redis?: boolean;
  json?: boolean;
}

export function register(program: Command): void {
  const dev = program
    .command("dev")
    .description("the whole product on this machine: Postgres, Temporal, worker, API and console")
    .option("--temporary", "throw everything away at the end")
    .option("--state <folder>", "where data and logs are kept", STATE_DIR)
    .option("--redis", "Redis as well, for sources that are streams")
    .option("--json", "print the addresses as one line of JSON when all is ready");
  examples(dev, "holdfast dev", "holdfast dev --temporary").action((flags: Flags) =>
    toItsEnd(() => run(flags)),
  );
}

async function run({ temporary, state, redis, json }: Flags): Promise<void> {
  const signal = interrupted();
  const { startProduct, StackRunning } = await import("../dev/product.ts");
  const starting = startProduct({
    persist: temporary ? undefined : state,
    redis,
    log: (line) => note(paint("dim", line)),
    signal,
  });
  const product = await starting.catch((error: unknown) => {
    if (!(error instanceof StackRunning)) throw error;
    const { addresses, pid } = error;
    if (json) printJsonLine({ ...addresses, pid });
    else {
      say(`It runs already (process ${pid}); Ctrl-C there stops it.`);
      printAddresses(addresses);
    }
    throw new Ended(EXIT.refused);
  });
  if (!product) return;
  if (json) printJsonLine({ ...product.addresses, pid: process.pid });
  else welcome(product.addresses, temporary ? undefined : state);
  await aborted(signal);
  note("stopping ...");
  await product.stop();
}

// In a checkout nothing is installed, and npm puts its own words before ours.
const command =
  process.env["npm_lifecycle_event"] === "holdfast" ? "npm run holdfast --" : "holdfast";

function welcome(addresses: Partial<StackAddresses>, state: string | undefined): void {
  say(paint("bold", "Holdfast is running."));
  printAddresses(addresses);
  if (state !== undefined) say(`${paint("dim", "state and logs")}  ${state}/`);
  say();
  const { databaseUrl, temporalAddress, namespace, redisUrl } = addresses;
  const variables = `DATABASE_URL=${databaseUrl} TEMPORAL_ADDRESS=${temporalAddress}`;
  const more =
    (namespace === "default" ? "" : ` TEMPORAL_NAMESPACE=${namespace}`) +
    (redisUrl ? ` REDIS_URL=${redisUrl}` : "");
  if (state === STATE_DIR) {
    say("In another terminal, in this folder:");
    say(`  ${command} retain submit README.md --bank first --wait`);
    say("Anywhere else, first:");
  } else {
    say("In another terminal, first:");
  }
  say(`  export ${variables}${more}`);
  say("Ctrl-C stops everything, in order.");
}

function printAddresses(addresses: Partial<StackAddresses>): void {
  const { consoleUrl } = addresses;
  printFields({
    console: consoleUrl ?? "it is still starting",
    "HTTP API": consoleUrl && `${consoleUrl}/v1 (described by ${consoleUrl}/openapi.json)`,
    "Temporal UI": addresses.temporalUiUrl,
    Temporal: addresses.temporalAddress,
    Postgres: addresses.databaseUrl,
    Redis: addresses.redisUrl,
  });
}
