import { HoldfastError, Unavailable } from "../../contracts/errors.ts";
import { asking, newContext } from "../../client/context.ts";
import { holdfastOver, type Holdfast } from "../../client/index.ts";
import type { Db } from "../../db/pool.ts";
import type { ConsoleDeps } from "../deps.ts";

/** Bound on every statement of a page, ms. */
const READ_TIMEOUT_MS = 2_000;

/** What a page may read with: every statement read-only and bounded. */
export interface Reading {
  holdfast: Holdfast;
  db: Db;
  tenants?: readonly string[] | undefined;
}

export function readingAs(
  deps: ConsoleDeps,
  caller: { actor: string; tenants?: readonly string[] | undefined },
): Reading {
  const { config } = deps.holdfast;
  const db = bounded(deps.holdfast.db);
  const holdfast = holdfastOver(newContext({ db, config, ...caller }));
  return { holdfast, db, tenants: caller.tenants };
}

// A transaction per statement, so that one that runs out of time takes no other part of the page along.
function bounded(db: Db): Db {
  const bound: Db["transaction"] = (work, how) =>
    db.transaction(work, { ...how, readOnly: true, statementTimeoutMs: READ_TIMEOUT_MS });
  return {
    ...db,
    query: (text, values) => bound((tx) => tx.query(text, values)),
    transaction: bound,
  };
}

/** A part of a page: what it shows, or in one line why it is left out. */
export type Part<T> = { value: T } | { missing: string };

/** Reads one part of a page. What goes wrong here costs this part and nothing else. */
export async function part<T>(read: () => Promise<T>): Promise<Part<T>> {
  try {
    return { value: await asking(read) };
  } catch (error) {
    return { missing: whyMissing(error) };
  }
}

export function valueOr<T, F>(read: Part<T>, fallback: F): T | F {
  return "value" in read ? read.value : fallback;
}

function whyMissing(error: unknown): string {
  if (ranOutOfTime(error)) {
    return `left out: reading it took longer than ${READ_TIMEOUT_MS / 1_000} s. Try again, or narrow the filter.`;
  }
  return `left out: ${error instanceof Error ? error.message : String(error)}`;
}

/** As `part`, for what every page needs: running out of time is a gap, anything else the page's end. */
export async function partOrFail<T>(read: () => Promise<T>): Promise<Part<T>> {
  try {
    return { value: await asking(read) };
  } catch (error) {
    if (ranOutOfTime(error)) return { missing: whyMissing(error) };
    throw error;
  }
}

function ranOutOfTime(error: unknown): boolean {
  const code = (error as { code?: string }).code;
  if (code === "57014") return true;
  return error instanceof Unavailable && (error.cause as { code?: string })?.code === "57014";
}

/** The one line for a page that could not be read at all. */
export function asRefusal(error: unknown): HoldfastError | undefined {
  if (ranOutOfTime(error)) {
    return new Unavailable(
      "Postgres",
      `reading this page took longer than ${READ_TIMEOUT_MS / 1_000} s: try again, or narrow the filter`,
      error,
    );
  }
  return error instanceof HoldfastError ? error : undefined;
}
