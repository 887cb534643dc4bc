import type { HoldfastConfig } from "../contracts/config.ts";
import { InvalidInput } from "../contracts/errors.ts";
import {
  BUILT_IN_BRANCH,
  BUILT_IN_TARGET,
  type InventorySettings,
  type InventorySettingsPatch,
} from "../contracts/inventory-settings.ts";
import type { PlanMode } from "../contracts/inventory.ts";
import { PlanGuard, type PlanGuardPatch, type PlanRule } from "../contracts/plan-rule.ts";
import { assertInventoryConfig, configuredRules } from "../domain/inventory-config.ts";
import { DEFAULT_REGISTRY, registryOf } from "../domain/inventory-registries.ts";
import { insertAudit } from "./audit.ts";
import { adoptPage } from "./inbox-entities.ts";
import type { Queryable, Tx } from "./pool.ts";

export { registryOf };

/**
 * What holds for a tenant: its row over the configuration over what is built in. Whoever plans reads it
 * in the transaction of each batch, so a change counts from the next batch on, everywhere.
 */

interface Row {
  registry: string | null;
  target: string | null;
  mode: PlanMode | null;
  rules: PlanRule[] | null;
  guard: PlanGuardPatch | null;
  default_branch: string | null;
  escalate_seconds: number | null;
  expire_seconds: number | null;
  version: number;
  /** What its target outside says, once that is known. */
  target_branch?: string | null;
}

const COLUMNS = `registry, target, mode, rules, guard, default_branch, escalate_seconds,
            expire_seconds, version`;

type WithInventory = Pick<HoldfastConfig, "inventory">;

export async function settingsOf(
  db: Queryable,
  config: WithInventory,
  tenant: string,
): Promise<InventorySettings> {
  return merged(config, await findRow(db, tenant));
}

/** What holds where a tenant has set nothing. */
export function defaultSettings(config: WithInventory): InventorySettings {
  return merged(config, undefined);
}

async function findRow(db: Queryable, tenant: string, lock = ""): Promise<Row | undefined> {
  const { rows } = await db.query<Row>(
    `select ${COLUMNS},
            (select t.default_branch from holdfast.targets t where t.name = target) as target_branch
       from holdfast.inventory_settings where tenant = $1 ${lock}`,
    [tenant],
  );
  return rows[0];
}

const DAY_SECONDS = 86_400;

function merged({ inventory = {} }: WithInventory, row: Row | undefined): InventorySettings {
  const target = row?.target ?? BUILT_IN_TARGET;
  const escalateSeconds = row?.escalate_seconds ?? inventory.escalateSeconds ?? DAY_SECONDS;
  const expireSeconds = row?.expire_seconds ?? inventory.expireSeconds ?? 0;
  return {
    registry: row?.registry ?? inventory.registry ?? DEFAULT_REGISTRY,
    target,
    mode: row?.mode ?? inventory.mode ?? "plan-only",
    rules: row?.rules ?? configuredRules({ inventory }),
    guard: PlanGuard.parse({ ...inventory.guard, ...row?.guard }),
    defaultBranch:
      row?.default_branch ??
      inventory.defaultBranch ??
      (target === BUILT_IN_TARGET ? BUILT_IN_BRANCH : (row?.target_branch ?? null)),
    escalateSeconds: escalateSeconds === 0 ? null : escalateSeconds,
    expireSeconds: expireSeconds === 0 ? null : expireSeconds,
    version: row?.version ?? 0,
  };
}

/**
 * Changes what a tenant has set, and answers what holds now. What is known of the default branch from
 * now on, is so for what was taken in before, too: for one page of it, the caller sees to the rest.
 * @throws InvalidInput when a registry or target is not there, or a rule names a type that is none
 */
export async function setSettings(
  tx: Tx,
  config: WithInventory,
  tenant: string,
  patch: InventorySettingsPatch,
  by: string,
): Promise<InventorySettings> {
  const before = await findRow(tx, tenant, "for update");
  const row: Row = {
    registry: chosen(patch.registry, before?.registry),
    target: chosen(patch.target, before?.target),
    mode: chosen(patch.mode, before?.mode),
    rules: chosen(patch.rules, before?.rules),
    guard: chosen(patch.guard, before?.guard),
    default_branch: chosen(patch.defaultBranch, before?.default_branch),
    escalate_seconds: chosen(patch.escalateSeconds, before?.escalate_seconds),
    expire_seconds: chosen(patch.expireSeconds, before?.expire_seconds),
    version: (before?.version ?? 0) + 1,
  };
  assertSettings(config, merged(config, row));
  await upsertRow(tx, tenant, row, by);
  const settings = await settingsOf(tx, config, tenant);
  await insertAudit(tx, {
    actor: by,
    action: "inventory.settings",
    tenant,
    subject: `inventory/${tenant}`,
    before: before ?? {},
    after: row,
  });
  if (settings.defaultBranch !== null) await adoptPage(tx, tenant, settings.defaultBranch);
  return settings;
}

function chosen<T>(given: T | null | undefined, before: T | null | undefined): T | null {
  return given === undefined ? (before ?? null) : given;
}

/**
 * For the start of a process: what the configuration says of inventories can work.
 * @throws InvalidInput naming the place: of a registry its type and field
 */
export function assertInventory(config: WithInventory): void {
  assertInventoryConfig(config);
  assertSettings(config, defaultSettings(config));
}

/** @throws InvalidInput naming what cannot hold */
function assertSettings(
  config: WithInventory,
  { registry: name, target, rules }: Pick<InventorySettings, "registry" | "target" | "rules">,
): void {
  const registry = registryOf(config, name);
  const targets = Object.keys(config.inventory?.targets ?? {});
  if (target !== BUILT_IN_TARGET && !targets.includes(target)) {
    const names = [BUILT_IN_TARGET, ...targets].join(", ");
    throw new InvalidInput([
      { path: "target", message: `there is no target ${target}: choose one of ${names}` },
    ]);
  }
  const issues = rules.flatMap(({ name, when }, no) =>
    [...(when.types ?? []), ...(when.changedTypes ?? [])]
      .filter((type) => !registry.types.has(type))
      .map((type) => ({
        path: `rules[${no}].when`,
        message: `${type} is no type of the registry ${registry.name}, so ${name} could never hold`,
      })),
  );
  if (issues.length > 0) throw new InvalidInput(issues);
}

async function upsertRow(tx: Tx, tenant: string, row: Row, by: string): Promise<void> {
  await tx.query(
    `insert into holdfast.inventory_settings
       (tenant, ${COLUMNS}, updated_by)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
     on conflict (tenant) do update
        set registry = excluded.registry, target = excluded.target, mode = excluded.mode,
            rules = excluded.rules, guard = excluded.guard,
            default_branch = excluded.default_branch,
            escalate_seconds = excluded.escalate_seconds,
            expire_seconds = excluded.expire_seconds,
            version = inventory_settings.version + 1, updated_by = excluded.updated_by,
            updated_at = clock_timestamp()`,
    [
      tenant,
      row.registry,
      row.target,
      row.mode,
      row.rules && JSON.stringify(row.rules),
      row.guard && JSON.stringify(row.guard),
      row.default_branch,
      row.escalate_seconds,
      row.expire_seconds,
      row.version,
      by,
    ],
  );
}
