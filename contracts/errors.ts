/**
 * Every refusal the outside can meet, as one family. `code` is the contract (stable, kebab-case),
 * `status` the HTTP status, `message` says what is wrong and what to do next.
 */
export class HoldfastError extends Error {
  readonly code: string;
  readonly status: number;
  readonly details?: Record<string, unknown>;

  constructor(
    code: string,
    status: number,
    message: string,
    options: { details?: Record<string, unknown>; cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = new.target.name;
    this.code = code;
    this.status = status;
    if (options.details) this.details = options.details;
  }
}

export interface InputIssue {
  /** Where, as the caller wrote it: `items[3].content`, `line 17: content`. */
  path: string;
  message: string;
}

/** The input is wrong. Nothing was written. */
export class InvalidInput extends HoldfastError {
  readonly issues: readonly InputIssue[];
  constructor(issues: readonly InputIssue[], code = "invalid-input", status = 400) {
    const shown = issues.slice(0, 3).map((issue) => `${issue.path}: ${issue.message}`);
    const rest = issues.length > 3 ? ` (and ${issues.length - 3} more)` : "";
    super(code, status, shown.join("; ") + rest, { details: { issues: issues.slice(0, 100) } });
    this.issues = issues;
  }
}

/** A stated limit is exceeded by this one request; a smaller one would pass. */
export class TooLarge extends InvalidInput {
  constructor(path: string, message: string) {
    super([{ path, message }], "too-large", 413);
  }
}

/** No key, or one that is unknown or revoked. */
export class Unauthorized extends HoldfastError {
  constructor(message: string) {
    super("unauthorized", 401, message);
  }
}

/** The key is good, its role or tenant scope is not enough. */
export class Forbidden extends HoldfastError {
  constructor(message: string) {
    super("forbidden", 403, message);
  }
}

export class NotFound extends HoldfastError {
  constructor(what: string, id: string, next = "check the id") {
    super("not-found", 404, `no ${what} ${id}: ${next}`);
  }
}

/** The request is well-formed and cannot be done as things stand: key reused, state moved on, held. */
export class Conflict extends HoldfastError {
  constructor(code: string, message: string, details?: Record<string, unknown>) {
    super(code, 409, message, details ? { details } : {});
  }
}

/** A plug-in or a policy said no. */
export class RefusedByPolicy extends HoldfastError {
  constructor(message: string, details?: Record<string, unknown>) {
    super("refused", 422, message, details ? { details } : {});
  }
}

/** The tenant has as much open work as it may have. */
export class LimitExceeded extends HoldfastError {
  readonly retryAfterSeconds: number;
  constructor(message: string, retryAfterSeconds: number, details?: Record<string, unknown>) {
    super("limit-exceeded", 429, message, { details: { ...details, retryAfterSeconds } });
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

/** Postgres or Temporal cannot be reached. */
export class Unavailable extends HoldfastError {
  constructor(what: "Postgres" | "Temporal", message: string, cause?: unknown) {
    super(`${what.toLowerCase()}-unavailable`, 503, message, { cause });
  }
}

/** The database schema and this code do not belong together. */
export class SchemaMismatch extends HoldfastError {
  constructor(message: string) {
    super("schema-mismatch", 503, message);
  }
}

/** What was waited for has not come to pass in the time there was. */
export class TimedOut extends HoldfastError {
  constructor(message: string) {
    super("timed-out", 504, message);
  }
}

/** Thrown by plug-ins: not now, try again at `until`. Spends no attempt. */
export class Deferred extends Error {
  override readonly name = "Deferred";
  readonly until: Date;
  constructor(until: Date, message = `deferred until ${until.toISOString()}`) {
    super(message);
    this.until = until;
  }
}

/** Thrown by plug-ins: this item, never. It ends `blocked` with the reason. */
export class Refused extends Error {
  override readonly name = "Refused";
}
