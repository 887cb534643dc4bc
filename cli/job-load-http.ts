import type { LoadPlan } from "./job-load.ts";

export type Asked<Answer> =
  | { ok: true; answer: Answer }
  /** `refused`: the server understood, and asking again changes nothing. */
  | { ok: false; reason: string; refused?: boolean };

/** GETs, or POSTs a body. Never throws: what went wrong is a reason without figures, to be counted. */
export type Ask = <Answer = unknown>(path: string, body?: unknown) => Promise<Asked<Answer>>;

/**
 * Asks one server. A redirect is not followed: whoever it leads to would be given the token, and what
 * is measured would be another server.
 */
export function asker({
  host,
  token,
  timeoutMs,
}: Pick<LoadPlan, "host" | "token" | "timeoutMs">): Ask {
  const base = host.href.replace(/\/+$/, "");
  const headers = {
    "content-type": "application/json",
    ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
  };
  const hidden = (text: string) => (token === undefined ? text : text.replaceAll(token, "***"));
  return async (path, body) => {
    try {
      const answer = await fetch(`${base}${path}`, {
        method: body === undefined ? "GET" : "POST",
        headers,
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        redirect: "manual",
        signal: AbortSignal.timeout(timeoutMs),
      });
      const text = await answer.text();
      if (answer.status >= 300 && answer.status < 400) {
        return { ok: false, reason: `HTTP ${answer.status}: redirects are not followed` };
      }
      if (!answer.ok) {
        const reason = hidden(problemIn(answer.status, text));
        return { ok: false, reason, refused: answer.status < 500 && answer.status !== 429 };
      }
      return { ok: true, answer: JSON.parse(text) };
    } catch (error) {
      return { ok: false, reason: hidden(faultOf(error, timeoutMs)) };
    }
  };
}

const REASON_CHARACTERS = 200;

function problemIn(status: number, text: string): string {
  let detail = "";
  try {
    const problem = JSON.parse(text) as { detail?: unknown; title?: unknown };
    detail = String(problem.detail ?? problem.title ?? "");
  } catch {
    // What stands between us and the server answers with pages of its own.
  }
  return `HTTP ${status}${detail ? `: ${detail.slice(0, REASON_CHARACTERS)}` : ""}`;
}

function faultOf(error: unknown, timeoutMs: number): string {
  if (!(error instanceof Error)) return String(error);
  if (error.name === "TimeoutError") return `no answer within ${timeoutMs / 1_000} s`;
  if (error instanceof SyntaxError) return "the answer is not JSON: is this a Holdfast server?";
  const { cause } = error;
  const why = cause instanceof Error ? cause.message || (cause as { code?: string }).code : "";
  return `no connection${why ? ` (${why.slice(0, REASON_CHARACTERS)})` : ""}`;
}
