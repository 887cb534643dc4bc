import { HoldfastError, InvalidInput } from "../contracts/errors.ts";
import type { Claim, ExtendAnswer, PostAnswer, ReleaseAnswer } from "../contracts/job.ts";
import type { JobClient } from "./job.ts";

/** What a pull worker asks: of a client of its own, or of a server. */
export type PullJobs = Pick<JobClient, "claim" | "extend" | "release" | "post">;

export interface JobsOverHttpOptions {
  /** Of the server, with whatever path stands before `/v1`. */
  url: string;
  /** An API key of role `service`. Absent: keys are off there. */
  token?: string | undefined;
  /** Bound on one request, beside the time that a claim waits. Default 30,000 ms. */
  timeoutMs?: number;
}

/**
 * The same calls over HTTP. Refusals are the errors of the SDK, by code and status; a server that cannot
 * be reached is `server-unreachable`, 503. The token goes to this server alone: redirects are refused.
 * @throws InvalidInput for a url or token that is none
 */
export function jobsOverHttp(options: JobsOverHttpOptions): PullJobs {
  const base = baseOf(options.url);
  const headers: Record<string, string> = {
    "content-type": "application/json",
    ...authorization(options.token),
  };
  const { timeoutMs = 30_000 } = options;
  const call = async <Answer>(
    path: string,
    body: unknown,
    { waitMs = 0, signal }: { waitMs?: number; signal?: AbortSignal | undefined } = {},
  ): Promise<Answer> => {
    signal?.throwIfAborted();
    const bound = AbortSignal.timeout(waitMs + timeoutMs);
    const request: RequestInit = {
      method: "POST",
      headers,
      body: JSON.stringify(body),
      redirect: "manual",
      signal: signal ? AbortSignal.any([signal, bound]) : bound,
    };
    let status: number;
    let answer: unknown;
    let retryAfter: string | null;
    try {
      const response = await fetch(new URL(path, base), request);
      ({ status } = response);
      retryAfter = response.headers.get("retry-after");
      answer = parsed(await response.text());
    } catch (error) {
      signal?.throwIfAborted();
      throw unreachable(base, bound.aborted ? `no answer in ${waitMs + timeoutMs} ms` : why(error));
    }
    if (status === 200 && answer !== undefined) return answer as Answer;
    throw refusal(base, status, answer, retryAfter);
  };
  return {
    claim: (request, { signal } = {}) => {
      const waitMs = (Number(request.waitSeconds) || 0) * 1_000;
      return call<Claim>("v1/jobs/claim", request, { waitMs, signal });
    },
    extend: (request) => call<{ leases: ExtendAnswer[] }>("v1/jobs/extend", request),
    release: (request) => call<{ leases: ReleaseAnswer[] }>("v1/jobs/release", request),
    post: (id, request) => call<PostAnswer>(`v1/jobs/${encodeURIComponent(id)}/results`, request),
  };
}

function baseOf(text: string): URL {
  const bad = (message: string) => new InvalidInput([{ path: "url", message }]);
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url?.hostname || !["http:", "https:"].includes(url.protocol)) {
    throw bad("must begin with http:// or https:// and name a host");
  }
  if (url.username || url.password) throw bad("must hold no credentials; pass the key as `token`");
  if (!url.pathname.endsWith("/")) url.pathname += "/";
  url.search = url.hash = "";
  return url;
}

// What is wrong with a token is told without any of it.
function authorization(token: string | undefined): Record<string, string> {
  if (token === undefined) return {};
  if (/^[\x21-\x7e]+$/.test(token)) return { authorization: `Bearer ${token}` };
  const message = "must be an API key: printable characters without blanks or line breaks";
  throw new InvalidInput([{ path: "token", message }]);
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function unreachable(base: URL, reason: string): HoldfastError {
  const message = `${base.host} did not answer (${reason}): try again; check the url if it goes on`;
  return new HoldfastError("server-unreachable", 503, message);
}

// What fetch throws says nothing; its cause does.
function why(error: unknown): string {
  const { cause, message } = error as {
    cause?: { code?: string; message?: string };
    message?: string;
  };
  return cause?.code ?? cause?.message ?? message ?? String(error);
}

function refusal(
  base: URL,
  status: number,
  answer: unknown,
  retryAfter: string | null,
): HoldfastError {
  if (status >= 300 && status < 400) {
    const message = `${base.host} answers with a redirect, which is not followed: give the url it leads to`;
    return new HoldfastError("redirected", 400, message);
  }
  const { code, detail } = (answer ?? {}) as { code?: unknown; detail?: unknown };
  if (typeof code !== "string" || typeof detail !== "string") {
    const message = `${base.host} answered ${status} with something that is not Holdfast's: check the url`;
    return new HoldfastError("not-holdfast", status >= 400 ? status : 502, message);
  }
  const seconds = Number(retryAfter);
  const details = retryAfter !== null && seconds >= 0 ? { retryAfterSeconds: seconds } : {};
  return new HoldfastError(code, status, detail, { details });
}
