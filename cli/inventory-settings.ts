import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import type { Command } from "commander";
import type { InventorySettings } from "../contracts/inventory-settings.ts";
import { plugins, withHoldfast } from "./connection.ts";
import { examples, JSON_FLAG, TENANT_FLAG } from "./declare.ts";
import { note, printFields, printJson, printTable, say } from "./output.ts";

interface Flags {
  tenant?: string;
  json?: boolean;
}

/** How the entities of a tenant are planned. */
export function register(inventory: Command): void {
  const settings = inventory
    .command("settings")
    .description(
      "how the entities of a tenant are planned; a change counts from the next batch on",
    );

  const show = settings
    .command("show")
    .description("what holds now: what the tenant has set, over the configuration")
    .option(...TENANT_FLAG)
    .option(...JSON_FLAG);
  examples(
    show,
    "holdfast inventory settings show",
    "holdfast inventory settings show --json > settings.json",
  ).action(async ({ tenant = "default", json }: Flags) => {
    const view = await withHoldfast(
      ({ inventory }) => inventory.settings.get(tenant),
      await plugins(),
    );
    if (json) printJson(view);
    else await print(view);
  });

  const set = settings
    .command("set <file>")
    .description("change what a JSON file names; null takes a field back to what is configured")
    .option(...TENANT_FLAG)
    .option(...JSON_FLAG);
  examples(
    set,
    "holdfast inventory settings set rules.json --tenant acme",
    `echo '{"mode":"auto"}' | holdfast inventory settings set -`,
  ).action(async (file: string, { tenant = "default", json }: Flags) => {
    const patch = await patchOf(file);
    const view = await withHoldfast(
      ({ inventory }) => inventory.settings.set(tenant, patch as never),
      await plugins(),
    );
    if (json) return printJson(view);
    note(`settings of ${tenant}, version ${view.version}`);
    await print(view);
  });
}

async function patchOf(file: string): Promise<object> {
  const { InvalidInput } = await import("../contracts/errors.ts");
  const wrong = (message: string) =>
    new InvalidInput([{ path: file === "-" ? "standard input" : basename(file), message }]);
  const text = await (file === "-" ? standardInput() : readFile(file, "utf8")).catch(
    (error: Error) => {
      throw wrong(`cannot be read: ${error.message}`);
    },
  );
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw wrong(`is no JSON: ${(error as Error).message}`);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw wrong('must hold a JSON object: {"mode":"auto","rules":[...]}');
  }
  // What `show` prints may be set again.
  const patch = { ...value } as { version?: unknown };
  delete patch.version;
  return patch;
}

async function standardInput(): Promise<string> {
  let text = "";
  for await (const chunk of process.stdin.setEncoding("utf8")) text += chunk as string;
  return text;
}

async function print(view: InventorySettings): Promise<void> {
  const hours = (seconds: number | null) => (seconds === null ? "never" : `after ${seconds} s`);
  printFields({
    registry: view.registry,
    target: view.target,
    mode: view.mode === "auto" ? "auto: rules decide" : "plan-only: nothing without an approval",
    "default branch": view.defaultBranch ?? "not known yet",
    "held when": heldWhen(view),
    escalates: hours(view.escalateSeconds),
    expires: hours(view.expireSeconds),
    version: view.version === 0 ? "0: nothing is set, all as configured" : view.version,
  });
  if (view.rules.length === 0) return;
  say();
  await printTable(
    ["RULE", "DECIDES", "WHEN"],
    view.rules.map(({ name, decision, enabled, when }) => [
      name,
      enabled ? decision : `${decision} (off)`,
      Object.keys(when).length === 0 ? "always" : JSON.stringify(when),
    ]),
  );
}

function heldWhen({ guard: { maxShare, maxObjects, minObjects } }: InventorySettings): string {
  const bounds = [
    maxShare > 0 &&
      `more than ${Math.round(maxShare * 100)} % of its objects (and ${minObjects}) change in an hour`,
    maxObjects > 0 && `more than ${maxObjects} objects change in an hour`,
  ].filter(Boolean);
  return bounds.length > 0 ? bounds.join(", or ") : "never";
}
