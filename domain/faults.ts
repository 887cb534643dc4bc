/**
 * What an error means for the item it happened to. Reads shapes, not classes: errors arrive from pg,
 * gRPC, fetch and plug-ins, and may have crossed a process boundary.
 */

export type Fault =
  /** A dependency is away: retried without limit, never charged to an item. */
  | "infrastructure"
  /** The item or our code: capped tries, counted on the item. */
  | "domain"
  /** A plug-in said "not now": see `deferredUntil`. Spends no try. */
  | "deferred"
  /** A plug-in said "never". */
  | "refused"
  | "cancelled";

/** Causes are followed this deep; deeper chains are cycles or noise. */
const MAX_DEPTH = 8;

const infrastructureClasses = new Set(["08", "53", "58"]);
const infrastructureStates = new Set([
  "0A000", // cached plan must not change result type
  "25006", // read-only transaction: connected to a standby during a failover
  "25P03", // idle-in-transaction timeout
  "25P04", // transaction timeout
  "26000", // prepared statement is gone, as behind a pooler
  "28000", // login refused, as while a password is rotated
  "28P01",
  "3D000", // database does not exist, as during a restore
  "40001", // serialization failure
  "40003", // statement completion unknown
  "40P01", // deadlock
  "55P03", // lock timeout
  "57014", // statement timeout
  "57P01", // shutdown
  "57P02", // crash of another backend
  "57P03", // starting up
  "57P04", // database dropped, as during a restore
  "57P05", // idle session timeout
]);
const permanentClasses = new Set(["21", "22", "23"]);
const permanentStates = new Set(["54000"]); // a program limit, such as an index row that is too long

const networkCodes = new Set([
  "ECONNREFUSED",
  "ECONNRESET",
  "ECONNABORTED",
  "EPIPE",
  "ETIMEDOUT",
  "ESOCKETTIMEDOUT",
  "EHOSTUNREACH",
  "EHOSTDOWN",
  "ENETUNREACH",
  "ENETDOWN",
  "ENETRESET",
  "EADDRNOTAVAIL",
  "EAI_AGAIN",
  "ENOTFOUND",
  "EMFILE",
  "ENFILE",
  "UND_ERR_SOCKET",
  "UND_ERR_CONNECT_TIMEOUT",
  "UND_ERR_HEADERS_TIMEOUT",
  "UND_ERR_BODY_TIMEOUT",
]);

/** What pg and its pool say, without a code, when the connection is gone or not to be had. */
const connectionMessages = new Set([
  "Connection terminated",
  "Connection terminated unexpectedly",
  "Connection terminated due to connection timeout",
  "Client was closed and is not queryable",
  "Client has encountered a connection error and is not queryable",
  "Cannot use a pool after calling end on the pool",
  "timeout exceeded when trying to connect",
  "timeout expired",
  "Query read timeout",
  "This socket has been ended by the other party",
]);

// CANCELLED counts as infrastructure: a server that shuts down answers it as well, and a cancel of
// ours is seen as an abort, not as a status.
const grpcInfrastructure = new Set([1, 4, 8, 14]);
const GRPC_INTERNAL = 13;

/** Which kind of fault an error is, by the first of its chain of causes that says so. */
export function classify(error: unknown): Fault {
  return (
    chain(error)
      .map(ownFault)
      .find((fault) => fault !== undefined) ?? "domain"
  );
}

/** True when trying again cannot help: the data violates a rule of the database, or was refused. */
export function isPermanent(error: unknown): boolean {
  const fault = classify(error);
  if (fault !== "domain") return fault === "refused";
  return chain(error).some((link) => {
    const state = sqlState(link);
    return (
      state !== undefined && (permanentClasses.has(state.slice(0, 2)) || permanentStates.has(state))
    );
  });
}

/** The time a deferral asks to wait for, if the error is one with a readable time. */
export function deferredUntil(error: unknown): Date | undefined {
  for (const link of chain(error)) {
    if (!named(link, "Deferred")) continue;
    const until = link["until"];
    if (!(until instanceof Date || typeof until === "string")) continue;
    const date = new Date(until);
    if (!Number.isNaN(date.getTime())) return date;
  }
  return undefined;
}

/**
 * Milliseconds to wait after `failures` failed tries: `baseMs` doubled each time, up to `capMs`.
 * `jitter` (0 to 1, brought by the caller) moves the wait between its half and its whole.
 */
export function backoffMs(
  failures: number,
  { baseMs, capMs, jitter = 1 }: { baseMs: number; capMs: number; jitter?: number },
): number {
  const doublings = Math.min(Math.max(Math.trunc(failures) - 1, 0), 50);
  const whole = Math.min(capMs, baseMs * 2 ** doublings);
  return Math.round((whole * (1 + Math.min(Math.max(jitter, 0), 1))) / 2);
}

type Link = Record<string, unknown>;

/** The error, then its causes, then the members of aggregates; each once. */
function chain(error: unknown): Link[] {
  const links: Link[] = [];
  let level: unknown[] = [error];
  for (let depth = 0; depth < MAX_DEPTH && level.length > 0; depth++) {
    const next: unknown[] = [];
    for (const candidate of level) {
      if (typeof candidate !== "object" || candidate === null) continue;
      const link = candidate as Link;
      if (links.includes(link)) continue;
      links.push(link);
      next.push(link["cause"]);
      if (Array.isArray(link["errors"])) next.push(...link["errors"].slice(0, MAX_DEPTH));
    }
    level = next;
  }
  return links;
}

function ownFault(link: Link): Fault | undefined {
  if (named(link, "Deferred")) return "deferred";
  if (named(link, "Refused")) return "refused";
  if (named(link, "AbortError") || named(link, "CancelledFailure")) return "cancelled";
  if (isInfrastructure(link)) return "infrastructure";
  return sqlState(link) === undefined ? undefined : "domain";
}

function isInfrastructure(link: Link): boolean {
  const { code, message } = link;
  if (typeof code === "number") {
    if (!("details" in link || "metadata" in link)) return false;
    return (
      grpcInfrastructure.has(code) ||
      (code === GRPC_INTERNAL && /RST_STREAM|GOAWAY/.test(String(link["details"] ?? message)))
    );
  }
  if (typeof code === "string" && networkCodes.has(code)) return true;
  const state = sqlState(link);
  if (state) return infrastructureClasses.has(state.slice(0, 2)) || infrastructureStates.has(state);
  return typeof message === "string" && connectionMessages.has(message);
}

/** The SQLSTATE of a Postgres error. Some of Node's codes have five capitals too. */
function sqlState(link: Link): string | undefined {
  const { code } = link;
  if (typeof code !== "string") return undefined;
  return /^[0-9A-Z]{5}$/.test(code) && /\d/.test(code) ? code : undefined;
}

/** By `name`, or by the `type` under which Temporal carries a thrown class across processes. */
function named(link: Link, name: string): boolean {
  return link["name"] === name || link["type"] === name;
}
