import { userInfo } from "node:os";
import type { Holdfast } from "../client/index.ts";
import type { Settings } from "../config.ts";
import type { HoldfastConfig } from "../contracts/config.ts";

/** Where `holdfast dev` keeps its stack, unless told otherwise. */
export const STATE_DIR = ".holdfast";

/**
 * The settings of this process. Without DATABASE_URL, those of the stack that `holdfast dev` runs in
 * this folder, so that a newcomer exports nothing.
 * @throws InvalidInput naming every variable that is missing or wrong
 */
export async function settings(): Promise<Settings> {
  const { readSettings } = await import("../config.ts");
  return readSettings({ ...(await stackEnvironment()), ...withoutBlanks(process.env) });
}

/** The plug-ins of `holdfast.config.ts`, or of the file that HOLDFAST_CONFIG names. */
export async function plugins(): Promise<HoldfastConfig> {
  const { loadConfig } = await import("../config.ts");
  return loadConfig(process.env["HOLDFAST_CONFIG"] || undefined);
}

/** Runs `work` with a client of its own and closes it. `config` is for what asks plug-ins. */
export async function withHoldfast<T>(
  work: (holdfast: Holdfast) => Promise<T>,
  config: HoldfastConfig = {},
): Promise<T> {
  const { DATABASE_URL, HOLDFAST_SCHEMA } = await settings();
  const { connect } = await import("../client/index.ts");
  const holdfast = connect({
    databaseUrl: DATABASE_URL,
    schema: HOLDFAST_SCHEMA,
    poolSize: 2,
    config,
    actor: actor(),
  });
  try {
    return await work(holdfast);
  } finally {
    await holdfast.close();
  }
}

/** Who stands in the audit for what the CLI does. */
function actor(): string {
  try {
    return `cli:${userInfo().username}`;
  } catch {
    return "cli"; // a user id without a name, as in many containers
  }
}

async function stackEnvironment(): Promise<NodeJS.ProcessEnv> {
  if (process.env["DATABASE_URL"]) return {};
  const { runningStack } = await import("../dev/stack-state.ts");
  const stack = await runningStack(STATE_DIR);
  if (!stack?.databaseUrl) return {};
  return {
    DATABASE_URL: stack.databaseUrl,
    ...(stack.temporalAddress && { TEMPORAL_ADDRESS: stack.temporalAddress }),
    ...(stack.namespace && { TEMPORAL_NAMESPACE: stack.namespace }),
    ...(stack.temporalUiUrl && { TEMPORAL_UI_URL: stack.temporalUiUrl }),
  };
}

function withoutBlanks(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([, value]) => value !== ""));
}
