import { DEFAULT_LIMITS, type AdmissionLimits, type HoldfastConfig } from "../contracts/config.ts";
import {
  Forbidden,
  HoldfastError,
  NotFound,
  SchemaMismatch,
  Unavailable,
} from "../contracts/errors.ts";
import { DEFAULT_TENANT } from "../contracts/operation.ts";
import type { Db } from "../db/pool.ts";
import { classify } from "../domain/faults.ts";

/** Who asks, and through what: the first argument of everything the SDK does. */
export interface Context {
  readonly db: Db;
  readonly config: HoldfastConfig;
  readonly limits: AdmissionLimits;
  /** Stands in the audit: a key's name, a person, `cli`. */
  readonly actor: string;
  /** Tenants this caller may see; absent: all. */
  readonly tenants?: readonly string[];
  /** Id of the caller's API key, which handles of leases are bound to. */
  readonly key?: string;
}

export function newContext(options: {
  db: Db;
  config?: HoldfastConfig | undefined;
  actor?: string | undefined;
  tenants?: readonly string[] | undefined;
  key?: string | undefined;
}): Context {
  const config = options.config ?? {};
  return {
    db: options.db,
    config,
    limits: { ...DEFAULT_LIMITS, ...config.limits },
    actor: options.actor ?? "sdk",
    ...(options.tenants ? { tenants: options.tenants } : {}),
    ...(options.key === undefined ? {} : { key: options.key }),
  };
}

/** Who holds leases: the key, or the actor where there is none. */
export function leaseKey(context: Context): string {
  return context.key ?? context.actor;
}

export function maySee(context: Context, tenant: string): boolean {
  return context.tenants === undefined || context.tenants.includes(tenant);
}

/** A tenant outside the caller's scope looks like one that is not there. */
export function assertTenant(context: Context, tenant: string): void {
  if (!maySee(context, tenant)) {
    throw new NotFound("tenant", tenant, `this caller may use ${context.tenants!.join(", ")}`);
  }
}

/** For what concerns the whole installation. */
export function assertEveryTenant(context: Context): void {
  if (context.tenants === undefined) return;
  throw new Forbidden(
    `${context.actor} may use ${context.tenants.join(", ")} only, and this concerns every tenant: use a key without tenants`,
  );
}

/** The tenant meant when none is named: the only one of the scope, else `default`. */
export function defaultTenant(context: Context): string {
  return context.tenants?.length === 1 ? context.tenants[0]! : DEFAULT_TENANT;
}

/** Runs a call of the SDK; what the database may answer instead becomes a typed error. */
export async function asking<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw explained(error);
  }
}

// In a caller's transaction these mean "run yours again": they must arrive as they are.
const CALLERS_TO_RETRY = new Set(["40001", "40P01"]);

// A schema, table, column or function that is not there.
const NOT_THERE = new Set(["3F000", "42P01", "42703", "42883"]);

function explained(error: unknown): unknown {
  if (error instanceof HoldfastError) return error;
  const { code = "", message = "" } = error as { code?: string; message?: string };
  if (CALLERS_TO_RETRY.has(code)) return error;
  if (NOT_THERE.has(code)) {
    return new SchemaMismatch(
      `the database schema does not fit this version (${message}): run "holdfast migrate"`,
    );
  }
  if (classify(error) === "infrastructure") {
    return new Unavailable(
      "Postgres",
      `Postgres did not answer (${message || code}): try again; check DATABASE_URL if it goes on`,
      error,
    );
  }
  return error;
}
